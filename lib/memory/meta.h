/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_META_H
#define RDM_META_H

/*
 * Memory for our own records: jemalloc's ordinary arena, never a slab and never
 * the host's malloc, which may be ours. No lock of ours but the quiesce lock
 * may be held. NULL also where the gate does not let one in (gate.h).
 */

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/blame.h"

/* The long maps that jemalloc has made of its own accord, as far as there is room: how many. */
struct rdm_meta_range {
	char *addr;
	size_t length;
};
size_t rdm_meta_maps(struct rdm_meta_range out[], size_t count);

/* As mmap(), for jemalloc; no lock. */
void *rdm_meta_map(void *addr, size_t length, int protection, int flags, int fd, off_t offset);

/* What to say where there is none: jemalloc maps up to 6 MiB at a time. */
static const struct rdm_failure rdm_meta_failure
	__attribute__((unused)) = { ENOMEM,
				    RDM_WANT_ADDRESSES | RDM_WANT_MEMORY | RDM_WANT_MAPPINGS,
				    (size_t)6 << 20, "see the cgroup's memory.max" };

/* Zeros. NULL: there is no memory. */
void *rdm_meta_alloc(size_t size);
void *rdm_meta_alloc_aligned(size_t size, size_t align);
void rdm_meta_free(void *p);

#endif
