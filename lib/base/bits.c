/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/bits.h"

#include <string.h>

#include "base/contract.h"

/* Four words at a time without a branch: a slab of a gigabyte has thousands. */
#define STRIDE 4
static bool are_all(const unsigned long *words, unsigned long value)
{
	return !((words[0] ^ value) | (words[1] ^ value) | (words[2] ^ value) | (words[3] ^ value));
}

size_t rdm_bits_next(const unsigned long *words, size_t count, size_t from, bool value)
{
	unsigned long flip = value ? 0 : ~0UL;

	rdm_assert(words || from >= count);
	while (from < count) {
		unsigned long word = (words[from / RDM_BITS_WORD] ^ flip) >> from % RDM_BITS_WORD;

		if (word) {
			from += (size_t)__builtin_ctzl(word);
			return from < count ? from : count;
		}
		from = (from / RDM_BITS_WORD + 1) * RDM_BITS_WORD;
		while (from + STRIDE * RDM_BITS_WORD <= count &&
		       are_all(words + from / RDM_BITS_WORD, flip))
			from += STRIDE * RDM_BITS_WORD;
	}
	return count;
}

size_t rdm_bits_last(const unsigned long *words, size_t from, size_t end, bool value)
{
	unsigned long flip = value ? 0 : ~0UL;

	rdm_assert(words || end <= from);
	while (end > from) {
		size_t last = (end - 1) / RDM_BITS_WORD;
		size_t unused = RDM_BITS_WORD - 1 - (end - 1) % RDM_BITS_WORD;
		unsigned long word = (words[last] ^ flip) << unused;

		if (word) {
			end -= (size_t)__builtin_clzl(word) + 1;
			return end >= from ? end : RDM_BITS_NONE;
		}
		end = last * RDM_BITS_WORD;
	}
	return RDM_BITS_NONE;
}

size_t rdm_bits_find_clear(const unsigned long *words, size_t count, size_t from, size_t run,
			   size_t align, size_t offset)
{
	rdm_assert(align && !(align & (align - 1)));
	rdm_assert(offset < align);
	rdm_assert(run);
	for (;;) {
		size_t taken;

		from = rdm_bits_next(words, count, from, false);
		from = ((from + offset + align - 1) & ~(align - 1)) - offset;
		if (from >= count || run > count - from)
			return RDM_BITS_NONE;
		taken = rdm_bits_next(words, from + run, from, true);
		if (taken == from + run)
			return from;
		from = taken + 1;
	}
}

/* Bits of one word. */
static void assign(unsigned long *word, size_t shift, size_t count, bool value)
{
	unsigned long mask = (~0UL >> (RDM_BITS_WORD - count)) << shift;

	rdm_assert(count && shift + count <= RDM_BITS_WORD);
	*word = value ? *word | mask : *word & ~mask;
}

void rdm_bits_assign(unsigned long *words, size_t from, size_t run, bool value)
{
	size_t shift = from % RDM_BITS_WORD, whole;

	rdm_assert(words || !run);
	words += from / RDM_BITS_WORD;
	if (shift && run) {
		size_t here = RDM_BITS_WORD - shift < run ? RDM_BITS_WORD - shift : run;

		assign(words++, shift, here, value);
		run -= here;
	}
	whole = run / RDM_BITS_WORD;
	memset(words, value ? 0xff : 0, whole * sizeof(*words));
	if (run % RDM_BITS_WORD)
		assign(words + whole, 0, run % RDM_BITS_WORD, value);
}
