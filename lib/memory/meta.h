/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_META_H
#define RDM_META_H

/*
 * Memory for our own records: jemalloc's ordinary arena, never a slab and never
 * the host's malloc, which may be ours. No lock of ours but the quiesce lock
 * may be held.
 */

#include <stddef.h>
#include <sys/types.h>

#include <jemalloc/jemalloc.h>

#include "sync/gate.h"

/* The long maps that jemalloc has made of its own accord, as far as there is room: how many. */
struct rdm_meta_range {
	char *addr;
	size_t length;
};
size_t rdm_meta_maps(struct rdm_meta_range out[], size_t count);

/* As mmap(), for jemalloc; no lock. */
void *rdm_meta_map(void *addr, size_t length, int protection, int flags, int fd, off_t offset);

static inline void *rdm_meta_alloc(size_t size)
{
	void *p;

	rdm_gate_enter();
	p = rdm_je_calloc(1, size);
	rdm_gate_leave();
	return p;
}

static inline void *rdm_meta_alloc_aligned(size_t size, size_t align)
{
	void *p;

	rdm_gate_enter();
	p = rdm_je_mallocx(size, MALLOCX_ALIGN(align) | MALLOCX_ZERO);
	rdm_gate_leave();
	return p;
}

static inline void rdm_meta_free(void *p)
{
	rdm_gate_enter();
	rdm_je_free(p);
	rdm_gate_leave();
}

#endif
