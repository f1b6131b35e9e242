/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_META_H
#define RDM_META_H

/*
 * Memory for our own records: jemalloc's ordinary arena, never a slab and never
 * the host's malloc, which may be ours. No lock of ours but the quiesce lock
 * may be held.
 */

#include <stddef.h>

#include <jemalloc/jemalloc.h>

static inline void *rdm_meta_alloc(size_t size)
{
	return rdm_je_calloc(1, size);
}

static inline void *rdm_meta_alloc_aligned(size_t size, size_t align)
{
	return rdm_je_mallocx(size, MALLOCX_ALIGN(align) | MALLOCX_ZERO);
}

static inline void rdm_meta_free(void *p)
{
	rdm_je_free(p);
}

#endif
