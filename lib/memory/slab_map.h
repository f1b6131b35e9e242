/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SLAB_MAP_H
#define RDM_SLAB_MAP_H

/*
 * Address to slab: one pointer for each granule of the reserve. Read without a
 * lock by everybody; written by slab.c under the quiesce lock. A reader's
 * answer stays true while a block of the slab is live.
 */

#include <stdatomic.h>
#include <stddef.h>

#include "memory/reserve.h"

struct rdm_slab;

extern _Atomic(struct rdm_slab *) *rdm_slab_map __attribute__((visibility("hidden")));

/* The slab that is so far into the reserve. */
static inline struct rdm_slab *rdm_slab_map_at(uintptr_t distance)
{
	return atomic_load_explicit(&rdm_slab_map[distance >> RDM_GRANULE_SHIFT],
				    memory_order_acquire);
}

/* The same in units of 64 bytes. */
static inline struct rdm_slab *rdm_slab_map_at_unit(uintptr_t unit)
{
	return atomic_load_explicit(&rdm_slab_map[unit >> (RDM_GRANULE_SHIFT - RDM_UNIT_SHIFT)],
				    memory_order_acquire);
}

static inline struct rdm_slab *rdm_slab_of(const void *p)
{
	uintptr_t distance;

	return rdm_reserve_find(p, &distance) ? rdm_slab_map_at(distance) : NULL;
}

/* 0 or an errno value. */
int rdm_slab_map_open(size_t reserve);
void rdm_slab_map_close(void);
/* Makes entries for all addresses before `end`. 0 or an errno value. */
int rdm_slab_map_cover(const void *end);
void rdm_slab_map_assign(void *addr, size_t length, struct rdm_slab *slab);

#endif
