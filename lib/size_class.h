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

/* 0 when size is larger than the largest class. */
static inline unsigned rdm_class_of(size_t size)
{
	unsigned doubling, index;

	if (size <= 512)
		return size ? (unsigned)((size + RDM_UNIT - 1) >> RDM_UNIT_SHIFT) : 1;
	size--;
	doubling = 63 - (unsigned)__builtin_clzl(size);
	index = 9 + (doubling - 9) * 4 + (unsigned)((size >> (doubling - 2)) - 4);
	return index <= RDM_CLASS_MAX ? index : 0;
}

_Static_assert(sizeof(long) == 8, "64-bit only");

#endif
