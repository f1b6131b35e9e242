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

#include "sync/gate.h"

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
