/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/fresh.h"

#include <string.h>

#include "base/bits.h"
#include "base/contract.h"
#include "memory/slab_map.h"
#include "memory/state.h"

size_t rdm_fresh_words(const struct rdm_slab_set *set, size_t pages)
{
	return set->ops->zero ? (pages + RDM_BITS_WORD - 1) / RDM_BITS_WORD : 0;
}

static size_t page_of(const struct rdm_slab *slab, const char *addr)
{
	rdm_assert(addr >= slab->base && addr < slab->base + slab->length);
	return (size_t)(addr - slab->base) >> rdm_state.page_shift;
}

/* The bits from `page` on in its word, of those before `end`. */
static unsigned long mask_of(size_t page, size_t end)
{
	size_t first = page % RDM_BITS_WORD, count = end - page;

	rdm_assert(page < end);
	return (count < RDM_BITS_WORD - first ? (1UL << count) - 1 : ~0UL) << first;
}

static size_t next_word(size_t page)
{
	return (page | (RDM_BITS_WORD - 1)) + 1;
}

static unsigned long read_word(const unsigned long *used, size_t page)
{
	return __atomic_load_n(&used[page / RDM_BITS_WORD], __ATOMIC_RELAXED);
}

/* The first page from `page` on, before `end`, that is used or is not. */
static size_t next_page(const unsigned long *used, size_t page, size_t end, bool value)
{
	for (; page < end; page = next_word(page)) {
		unsigned long word = read_word(used, page);
		unsigned long found = (value ? word : ~word) & mask_of(page, end);

		if (found)
			return page / RDM_BITS_WORD * RDM_BITS_WORD + (size_t)__builtin_ctzl(found);
	}
	return end;
}

/* Most blocks that leave the arena were there before: no write then. */
static void mark_used(unsigned long *used, size_t page, size_t end)
{
	for (; page < end; page = next_word(page)) {
		unsigned long mask = mask_of(page, end);

		if (~read_word(used, page) & mask)
			__atomic_fetch_or(&used[page / RDM_BITS_WORD], mask, __ATOMIC_RELAXED);
	}
}

void rdm_fresh_end(void *block, size_t usable)
{
	const struct rdm_slab *slab = rdm_slab_of(block);

	rdm_assert(slab && usable);
	if (slab->used)
		mark_used(slab->used, page_of(slab, block),
			  page_of(slab, (char *)block + usable - 1) + 1);
}

void rdm_fresh_end_zero(void *block, size_t size, size_t usable)
{
	const struct rdm_slab *slab = rdm_slab_of(block);
	char *at = block, *end = at + size, *last = at + usable;

	rdm_assert(slab && usable && size <= usable);
	if (!slab->used)
		memset(block, 0, size);
	while (slab->used && at < end) {
		size_t pages = page_of(slab, last - 1) + 1;
		size_t first = next_page(slab->used, page_of(slab, at), pages, true);
		size_t until = next_page(slab->used, first, pages, false);
		char *from = slab->base + (first << rdm_state.page_shift);
		char *to = slab->base + (until << rdm_state.page_shift);

		from = from < at ? at : from;
		to = to > last ? last : to;
		if (from >= end)
			break;
		slab->set->ops->zero(from, (size_t)((to < end ? to : end) - from),
				     (size_t)(to - from));
		at = to;
	}
	rdm_fresh_end(block, usable);
}

void rdm_fresh_begin(void *addr, size_t length)
{
	const struct rdm_slab *slab = rdm_slab_of(addr);
	size_t page = page_of(slab, addr), end = page + (length >> rdm_state.page_shift);

	rdm_assert(end <= slab->pages);
	for (; slab->used && page < end; page = next_word(page))
		__atomic_fetch_and(&slab->used[page / RDM_BITS_WORD], ~mask_of(page, end),
				   __ATOMIC_RELAXED);
}
