/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STATE_H
#define RDM_STATE_H

/*
 * What every block is: its size class while it is allocated, 0 when it is not.
 * A byte for each page, used by blocks that start on a page and fill it, and a
 * byte for each 64 bytes, used by the others. It finds the class of a pointer
 * and catches double, interior and foreign frees; it is also the record of
 * what is live, for snapshots and statistics.
 *
 * The bytes of a live block belong to its owner; nobody needs a lock. Covering
 * addresses is for slab.c, under the quiesce lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reserve.h"
#include "size_class.h"

/* The block bypasses jemalloc: whole pages straight from the slab. */
#define RDM_STATE_DIRECT 0x80

struct rdm_state {
	_Atomic uint8_t *units;
	_Atomic uint8_t *pages;
	unsigned page_shift;
};
extern struct rdm_state rdm_state;

static inline size_t rdm_state_block_size(unsigned state)
{
	return rdm_class_size(state & ~(unsigned)RDM_STATE_DIRECT);
}

static inline bool rdm_state_on_page(uintptr_t distance)
{
	return !(distance & (((uintptr_t)1 << rdm_state.page_shift) - 1));
}

static inline void rdm_state_set(const void *p, unsigned state)
{
	uintptr_t distance = rdm_reserve_distance(p);
	bool fills_page = rdm_state_block_size(state) >> rdm_state.page_shift;
	_Atomic uint8_t *byte = fills_page && rdm_state_on_page(distance) ?
					&rdm_state.pages[distance >> rdm_state.page_shift] :
					&rdm_state.units[distance >> RDM_UNIT_SHIFT];

	atomic_store_explicit(byte, (uint8_t)state, memory_order_relaxed);
}

/* The byte that describes a block which starts at p, NULL when none can. */
static inline _Atomic uint8_t *rdm_state_byte(const void *p)
{
	uintptr_t distance = rdm_reserve_distance(p);

	if (distance & (RDM_UNIT - 1))
		return NULL;
	if (rdm_state_on_page(distance)) {
		_Atomic uint8_t *page = &rdm_state.pages[distance >> rdm_state.page_shift];

		if (atomic_load_explicit(page, memory_order_relaxed))
			return page;
	}
	return &rdm_state.units[distance >> RDM_UNIT_SHIFT];
}

/* The state of the block that starts at p; 0 when none does. p is in a slab. */
static inline unsigned rdm_state_peek(const void *p)
{
	_Atomic uint8_t *byte = rdm_state_byte(p);

	return byte ? atomic_load_explicit(byte, memory_order_relaxed) : 0;
}

/* As peek, and ends the block: of two that free it at once, one gets 0. */
static inline unsigned rdm_state_take(const void *p)
{
	_Atomic uint8_t *byte = rdm_state_byte(p);

	return byte ? atomic_exchange_explicit(byte, 0, memory_order_relaxed) : 0;
}

/*
 * The first block that starts in [from, end), both in one slab and `from` a
 * multiple of 64; NULL if there is none. `*state` gets its state.
 */
char *rdm_state_next(char *from, const char *end, unsigned *state);

/* 0 or an errno value. */
int rdm_state_open(size_t reserve);
void rdm_state_close(void);
/* Makes the bytes of all addresses below `end` usable. 0 or an errno value. */
int rdm_state_cover(const void *end);

#endif
