/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_META_H
#define RDM_META_H

/*
 * Memory for our own records: jemalloc's ordinary arena, never a slab and never
 * the host's malloc, which may be ours. No lock of ours but the quiesce lock
 * may be held.
 */

#include <errno.h>
#include <stddef.h>

#include <jemalloc/jemalloc.h>

#include "base/blame.h"
#include "sync/gate.h"

/* What to say where there is none: jemalloc maps 2 MiB and more at a time. */
static const struct rdm_failure rdm_meta_failure
	__attribute__((unused)) = { ENOMEM,
				    RDM_WANT_ADDRESSES | RDM_WANT_MEMORY | RDM_WANT_MAPPINGS,
				    (size_t)2 << 20, "see the cgroup's memory.max" };

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
