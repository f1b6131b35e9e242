/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_BITS_H
#define RDM_BITS_H

/*
 * Ranges in a bitmap: a set bit is taken, a clear one free. The caller holds
 * the lock that guards the bitmap. Nothing is allocated.
 */

#include <stdbool.h>
#include <stddef.h>

#define RDM_BITS_NONE ((size_t)-1)
#define RDM_BITS_WORD (8 * sizeof(unsigned long))

static inline void rdm_bits_set(unsigned long *words, size_t at)
{
	words[at / RDM_BITS_WORD] |= 1UL << at % RDM_BITS_WORD;
}

static inline void rdm_bits_clear(unsigned long *words, size_t at)
{
	words[at / RDM_BITS_WORD] &= ~(1UL << at % RDM_BITS_WORD);
}

/* First bit at or after `from` with that value, or `count`. */
size_t rdm_bits_next(const unsigned long *words, size_t count, size_t from, bool value);

/* Last bit before `end`, not before `from`, with that value; RDM_BITS_NONE if there is none. */
size_t rdm_bits_last(const unsigned long *words, size_t from, size_t end, bool value);

/*
 * First run of `run` clear bits at or after `from` whose start, plus `offset`,
 * is a multiple of `align` (a power of two); RDM_BITS_NONE if there is none.
 */
size_t rdm_bits_find_clear(const unsigned long *words, size_t count, size_t from, size_t run,
			   size_t align, size_t offset);

void rdm_bits_assign(unsigned long *words, size_t from, size_t run, bool value);

#endif
