/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_POOL_MEMORY_H
#define RDM_PROBE_POOL_MEMORY_H

/*
 * A pool's memory as a probe has it: a pool and a block for each probe. The engine's
 * device becomes the pool's rail, or, where it is none, callbacks that note nothing:
 * the engine takes the pages right after the pool has registered them.
 */

#include <rdmalloc.h>

#include "probe.h"

/* The words are those of struct rdm_pool_config. With huge pages the block is one. */
#define PROBE_POOL(label, backing, pages, fork)                                          \
	{                                                                                \
		.name = (label), .get = probe_pool_get, .attach = probe_pool_attach,     \
		.put = probe_pool_put,                                                   \
		.context = (void *)(uintptr_t)((backing) | (pages) << 8 | (fork) << 16), \
	}

int probe_pool_get(void *context, const struct probe_device *device, struct probe_buffer *buffer);
int probe_pool_attach(void *context, const struct probe_device *device,
		      struct probe_buffer *buffer);
void probe_pool_put(void *context, struct probe_buffer *buffer);

#endif
