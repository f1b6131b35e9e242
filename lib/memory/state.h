/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STATE_H
#define RDM_STATE_H

/*
 * What every block is: its size class while it is allocated, 0 when it is not.
 * A byte for each 64 bytes, of which the one counts where a block starts: so blocks of 4 KiB
 * and more have a line of the CPU's cache each, which no other thread's block is in.
 * It finds the class of a pointer and catches double, interior and foreign frees; it is also the
 * record of what is live, for snapshots and statistics.
 *
 * The bytes of a live block belong to its owner; nobody needs a lock. Covering
 * addresses is for slab.c, under the quiesce lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/size_class.h"

/* The block bypasses jemalloc: whole pages straight from the slab. */
#define RDM_STATE_DIRECT 0x80

/* The table as if it began at address 0: a look-up need not know where the reserve does. */
struct rdm_state {
	uintptr_t table;
	unsigned page_shift; /* of the kernel's pages, which slabs are carved in */
};
extern struct rdm_state rdm_state __attribute__((visibility("hidden")));

static inline size_t rdm_state_block_size(unsigned state)
{
	return rdm_class_size(state & ~(unsigned)RDM_STATE_DIRECT);
}

/* The byte of a block that starts there. */
static inline _Atomic uint8_t *rdm_state_byte(const void *p)
{
	return (_Atomic uint8_t *)(rdm_state.table + ((uintptr_t)p >> RDM_UNIT_SHIFT));
}

static inline void rdm_state_set(const void *p, unsigned state)
{
	atomic_store_explicit(rdm_state_byte(p), (uint8_t)state, memory_order_relaxed);
}

/* The state of the block that starts there, in a slab; 0 when none does. */
static inline unsigned rdm_state_peek(const void *p)
{
	if (__builtin_expect((uintptr_t)p & (RDM_UNIT - 1), 0))
		return 0;
	return atomic_load_explicit(rdm_state_byte(p), memory_order_relaxed);
}

/*
 * As peek, of a multiple of 64, and ends the block unless it is a direct one. An atomic
 * exchange would cost more than the rest of a free: of two at the same instant neither is
 * caught here, but the block's next allocation is (begin).
 */
static inline size_t rdm_state_take(const void *p)
{
	_Atomic uint8_t *byte = rdm_state_byte(p);
	size_t state = atomic_load_explicit(byte, memory_order_relaxed);

	if (__builtin_expect((int8_t)state > 0, 1))
		atomic_store_explicit(byte, 0, memory_order_relaxed);
	return state;
}

/* As take, of a block that should be of that class. False: it is not, and was not ended. */
static inline bool rdm_state_end(const void *p, size_t class)
{
	_Atomic uint8_t *byte = rdm_state_byte(p);

	/* As a signed byte, a direct block is of no class. */
	if (__builtin_expect(
		    (size_t)(int8_t)atomic_load_explicit(byte, memory_order_relaxed) != class, 0))
		return false;
	atomic_store_explicit(byte, 0, memory_order_relaxed);
	return true;
}

/* Begins a free block of that class. False: somebody has it already. */
static inline bool rdm_state_begin(const void *p, size_t class)
{
	_Atomic uint8_t *byte = rdm_state_byte(p);

	if (__builtin_expect(atomic_load_explicit(byte, memory_order_relaxed), 0))
		return false;
	atomic_store_explicit(byte, (uint8_t) class, memory_order_relaxed);
	return true;
}

/*
 * The first block that starts in [from, end), both in one slab and `from` a
 * multiple of 64; NULL if there is none. `*state` gets its state.
 */
char *rdm_state_next(char *from, const char *end, unsigned *state);

/* When the reserve is open. 0 or an errno value. */
int rdm_state_open(size_t reserve);
void rdm_state_close(void);
/* Makes the bytes of all addresses below `end` usable. 0 or an errno value. */
int rdm_state_cover(const void *end);

#endif
