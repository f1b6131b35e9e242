/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/live.h"

#include "base/bits.h"
#include "base/contract.h"
#include "base/size_class.h"
#include "memory/state.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

char *rdm_live_next(const struct rdm_slab *slab, char *from, size_t *size)
{
	size_t page = (size_t)(from - slab->base) >> rdm_state.page_shift;

	rdm_assert(rdm_lock_is_mine(&slab->set->lock));
	rdm_assert(from >= slab->base && from <= slab->base + slab->length);
	rdm_assert(!((uintptr_t)from & (RDM_UNIT - 1)));
	while ((page = rdm_bits_next(slab->carved, slab->pages, page, true)) < slab->pages) {
		size_t end = rdm_bits_next(slab->carved, slab->pages, page, false);
		char *start = slab->base + (page << rdm_state.page_shift);
		unsigned state;
		char *block = rdm_state_next(start > from ? start : from,
					     slab->base + (end << rdm_state.page_shift), &state);

		if (block) {
			*size = rdm_state_block_size(state);
			return block;
		}
		page = end;
	}
	return NULL;
}

size_t rdm_live_count(const struct rdm_slab *slab, size_t *bytes)
{
	size_t blocks = 0;
	size_t size;

	rdm_assert(bytes);
	*bytes = 0;
	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size) {
		blocks++;
		*bytes += size;
	}
	return blocks;
}

size_t rdm_live_total(struct rdm_slab_set *set, size_t *bytes)
{
	const struct rdm_slab *slab;
	size_t blocks = 0;

	*bytes = 0;
	rdm_slabs_lock(set);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		size_t here;

		blocks += rdm_live_count(slab, &here);
		*bytes += here;
	}
	rdm_slabs_unlock(set);
	return blocks;
}

size_t rdm_live_larger(struct rdm_slab_set *set, size_t least, size_t *bytes)
{
	const struct rdm_slab *slab;
	size_t blocks = 0, size;

	*bytes = 0;
	rdm_slabs_lock(set);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (slab->length < least)
			continue;
		for (char *block = slab->base; (block = rdm_live_next(slab, block, &size));
		     block += size)
			if (size >= least) {
				blocks++;
				*bytes += size;
			}
	}
	rdm_slabs_unlock(set);
	return blocks;
}

size_t rdm_live_from(struct rdm_slab_set *set, const char *from, struct rdm_live_block out[],
		     size_t max)
{
	const struct rdm_slab *slab;
	size_t n = 0, size;

	rdm_assert(rdm_quiesce_is_held());
	rdm_slabs_lock(set);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		/* A state before `from` is that of a block that was seen. */
		char *block = from > slab->base ? slab->base + (from - slab->base) : slab->base;

		if (from >= slab->base + slab->length)
			continue;
		for (; n < max && (block = rdm_live_next(slab, block, &size)); block += size)
			out[n++] = (struct rdm_live_block){ block, size };
	}
	rdm_slabs_unlock(set);
	return n;
}

void rdm_live_forget(const struct rdm_slab_set *set)
{
	const struct rdm_slab *slab;
	size_t size;

	rdm_assert(rdm_quiesce_is_held());
	TAILQ_FOREACH (slab, &set->slabs, link)
		for (char *block = slab->base; (block = rdm_live_next(slab, block, &size));
		     block += size)
			rdm_state_set(block, 0);
}
