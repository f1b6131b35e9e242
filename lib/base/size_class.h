/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SIZE_CLASS_H
#define RDM_SIZE_CLASS_H

/*
 * Size classes: the multiples of 64 up to 512 bytes, then four to each
 * doubling. Each is one of jemalloc's too, so that a block's class is its
 * usable size. Class 0 is no class; RDM_CLASS_MAX fits in seven bits.
 */

#include <stddef.h>

#define RDM_UNIT_SHIFT 6
#define RDM_UNIT ((size_t)1 << RDM_UNIT_SHIFT)
#define RDM_CLASS_MAX 127

static inline size_t rdm_class_size(unsigned index)
{
	unsigned step, doubling;

	if (index <= 8)
		return (size_t)index << RDM_UNIT_SHIFT;
	step = (index - 9) & 3;
	doubling = 9 + (index - 9) / 4;
	return ((size_t)1 << doubling) + ((size_t)(step + 1) << (doubling - 2));
}

#define RDM_SIZE_MAX rdm_class_size(RDM_CLASS_MAX)

/* More than RDM_CLASS_MAX for a size of 0, and when it is larger than the largest class. */
static inline size_t rdm_class_of_bytes(size_t size)
{
	size_t last = size - 1;
	unsigned doubling;

	if (last < 512)
		return (last >> RDM_UNIT_SHIFT) + 1;
	doubling = 63 ^ (unsigned)__builtin_clzl(last);
	return 4 * doubling - 31 + (unsigned)(last >> (doubling - 2));
}

/* The class of a block for so many bytes, which may be none; 0: too many. */
static inline unsigned rdm_class_of(size_t size)
{
	size_t class = rdm_class_of_bytes(size ? size : 1);

	return class <= RDM_CLASS_MAX ? (unsigned)class : 0;
}

_Static_assert(sizeof(long) == 8, "64-bit only");

#endif
