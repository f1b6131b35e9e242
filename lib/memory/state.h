/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STATE_H
#define RDM_STATE_H

/*
 * What every block is: its size class while it is allocated, 0 when it is not.
 * A byte for each 4 KiB, used by blocks that start on a multiple of it, whatever
 * the kernel's pages are, and a byte for each 64 bytes, used by the others. It finds the class of a pointer
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

#include "base/size_class.h"

/* The block bypasses jemalloc: whole pages straight from the slab. */
#define RDM_STATE_DIRECT 0x80

#define RDM_STATE_COARSE_SHIFT 12
#define RDM_STATE_COARSE ((uintptr_t)1 << RDM_STATE_COARSE_SHIFT)

/* The tables as if they began at address 0: a look-up need not know where the reserve does. */
struct rdm_state {
	uintptr_t fine;
	uintptr_t coarse;
	unsigned page_shift; /* of the kernel's pages, which slabs are carved in */
};
extern struct rdm_state rdm_state __attribute__((visibility("hidden")));

static inline size_t rdm_state_block_size(unsigned state)
{
	return rdm_class_size(state & ~(unsigned)RDM_STATE_DIRECT);
}

static inline _Atomic uint8_t *rdm_state_fine(uintptr_t address)
{
	return (_Atomic uint8_t *)(rdm_state.fine + (address >> RDM_UNIT_SHIFT));
}

static inline _Atomic uint8_t *rdm_state_coarse(uintptr_t address)
{
	return (_Atomic uint8_t *)(rdm_state.coarse + (address >> RDM_STATE_COARSE_SHIFT));
}

/* The byte of a block that starts there. */
static inline _Atomic uint8_t *rdm_state_byte(const void *p)
{
	uintptr_t address = (uintptr_t)p;
	_Atomic uint8_t *byte = rdm_state_fine(address);
	_Atomic uint8_t *coarse = rdm_state_coarse(address);

#ifdef __x86_64__
	/* Of blocks of 1 KiB each fourth starts on 4 KiB: a branch would be guessed wrong too often. */
	__asm__("test %2, %1\n\tcmovz %3, %0"
		: "+r"(byte)
		: "r"((uint32_t)address), "i"(RDM_STATE_COARSE - 1), "r"(coarse)
		: "cc");
	return byte;
#else
	return address & (RDM_STATE_COARSE - 1) ? byte : coarse;
#endif
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
