/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdint.h>

#include "base/bits.h"
#include "base/contract.h"
#include "memory/reserve.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "slab/slab.h"
#include "sync/background.h"
#include "sync/gate.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

/* How far an uncarved run looks for its free neighbours, in pages. */
#define REACH 128
/* Slabs without an aligned run that are tried before those that surely have one. */
#define FEW 4

static size_t pages_of(size_t size)
{
	return (size + ((size_t)1 << rdm_state.page_shift) - 1) >> rdm_state.page_shift;
}

static struct rdm_slab *slab_at(size_t granule)
{
	return rdm_slab_map[granule];
}

static void offer(struct rdm_slab *slab, size_t pages)
{
	rdm_assert(rdm_lock_is_mine(&slab->set->lock));
	rdm_assert(pages <= slab->pages);
	rdm_slab_index_offer(&slab->set->index, rdm_slab_granule(slab), pages);
}

static void take(struct rdm_slab *slab, size_t first, size_t run)
{
	struct rdm_slab_set *set = slab->set;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_assert(run && first + run <= slab->pages);
	rdm_assert(slab->free_pages >= run);
	rdm_assert(rdm_bits_next(slab->carved, first + run, first, true) == first + run);
	rdm_assert(!slab->quarantined);
	if (slab->free_pages == slab->pages) {
		rdm_bits_clear(set->index.idle, rdm_slab_granule(slab));
		set->watermark.idle -= slab->length;
	}
	rdm_bits_assign(slab->carved, first, run, true);
	slab->free_pages -= run;
	set->carved_pages += run;
	if (first == slab->hint)
		slab->hint += run;
	/* Else the offer is lowered by the first search that it leads astray. */
	if (!slab->free_pages)
		offer(slab, 0);
}

static void mark_carved(struct rdm_slab *slab, size_t first, size_t run)
{
	take(slab, first, run);
	rdm_warm_carved(slab, first, run);
}

static size_t find_run(const struct rdm_slab *slab, size_t run, size_t step)
{
	size_t offset = ((uintptr_t)slab->base >> rdm_state.page_shift) & (step - 1);

	rdm_assert(run && step && !(step & (step - 1)));
	if (slab->free_pages < run)
		return RDM_BITS_NONE;
	return rdm_bits_find_clear(slab->carved, slab->pages, slab->hint, run, step, offset);
}

/* The slab has no such run: then none that is long enough to hold one. */
static void lower_offer(struct rdm_slab *slab, size_t run, size_t step)
{
	size_t pages = run + step - 2;

	rdm_assert(rdm_lock_is_mine(&slab->set->lock));
	rdm_assert(run && step);
	if (pages > slab->free_pages)
		pages = slab->free_pages;
	if (pages < rdm_slab_index_offered(&slab->set->index, rdm_slab_granule(slab)))
		offer(slab, pages);
}

/* Looks for a run at slabs that offer so many pages, of which `tries` may disappoint. */
static struct rdm_slab *search(struct rdm_slab_set *set, size_t run, size_t step, size_t offered,
			       size_t tries, size_t *first)
{
	size_t granule = 0;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_assert(offered);
	while (tries--) {
		struct rdm_slab *slab;

		granule = rdm_slab_index_find(&set->index, granule, offered);
		if (granule == RDM_BITS_NONE)
			break;
		slab = slab_at(granule);
		*first = find_run(slab, run, step);
		if (*first != RDM_BITS_NONE)
			return slab;
		lower_offer(slab, run, step);
		granule++;
	}
	return NULL;
}

static struct rdm_slab *find_anywhere(struct rdm_slab_set *set, size_t run, size_t align,
				      size_t *first)
{
	size_t step = pages_of(align);
	struct rdm_slab *slab;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	if (step == 1)
		return search(set, run, 1, run, SIZE_MAX, first);
	/* A run that is long enough need not have an aligned one, at any number of slabs. */
	slab = search(set, run, step, run, FEW, first);
	if (!slab)
		slab = search(set, run, step, run + step - 1, SIZE_MAX, first);
	if (!slab)
		slab = search(set, run, step, run, SIZE_MAX, first);
	return slab;
}

static void *carve_anywhere(struct rdm_slab_set *set, size_t run, size_t align)
{
	size_t first;
	struct rdm_slab *slab = find_anywhere(set, run, align, &first);

	if (!slab)
		return NULL;
	mark_carved(slab, first, run);
	return slab->base + (first << rdm_state.page_shift);
}

/* Where `at` continues a run of the set, whole in one slab. */
static void *carve_at(struct rdm_slab_set *set, char *at, size_t run)
{
	struct rdm_slab *slab = rdm_slab_of(at);
	size_t first;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	/* The run before it holds its slab; the next slab may be on its way out. */
	if (!slab || slab != rdm_slab_of(at - 1) || slab->set != set)
		return NULL;
	first = (size_t)(at - slab->base) >> rdm_state.page_shift;
	if (run > slab->pages - first ||
	    rdm_bits_next(slab->carved, first + run, first, true) < first + run)
		return NULL;
	mark_carved(slab, first, run);
	return at;
}

void *rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align)
{
	size_t run = pages_of(size);
	void *found;
	bool low;

	rdm_assert(size);
	rdm_assert(at || (align && !(align & (align - 1))));
	/* In a hook: inside the gate. */
	rdm_lock_take_inner(&set->lock);
	found = at ? carve_at(set, at, run) : carve_anywhere(set, run, align);
	low = found && rdm_watermark_crossed(set);
	rdm_lock_release_inner(&set->lock);
	if (low)
		rdm_background_wake();
	return found;
}

size_t rdm_slabs_carved_bytes(const struct rdm_slab_set *set)
{
	return __atomic_load_n(&set->carved_pages, __ATOMIC_RELAXED) << rdm_state.page_shift;
}

size_t rdm_slabs_in_memory(struct rdm_slab_set *set)
{
	size_t pages;

	rdm_lock_take(&set->lock);
	pages = set->carved_pages + set->warm.pages;
	rdm_lock_release(&set->lock);
	return pages << rdm_state.page_shift;
}

bool rdm_slabs_can_carve(struct rdm_slab_set *set, size_t size, size_t align)
{
	size_t first;
	bool found;

	rdm_assert(size && align && !(align & (align - 1)));
	rdm_lock_take(&set->lock);
	found = find_anywhere(set, pages_of(size), align, &first) != NULL;
	rdm_lock_release(&set->lock);
	return found;
}

/* Pages of the free run around one that has just become free; more when it is long. */
static size_t free_around(const struct rdm_slab *slab, size_t first, size_t run)
{
	size_t low = first > REACH ? first - REACH : 0;
	size_t high = slab->pages - first - run > REACH ? first + run + REACH : slab->pages;
	size_t last = rdm_bits_last(slab->carved, low, first, true);
	size_t next = rdm_bits_next(slab->carved, high, first + run, true);

	rdm_assert(first + run <= slab->pages);
	if ((last == RDM_BITS_NONE && low) || (next == high && high < slab->pages))
		return slab->free_pages;
	return next - (last == RDM_BITS_NONE ? 0 : last + 1);
}

static void uncarve(struct rdm_slab *slab, size_t first, size_t run)
{
	struct rdm_slab_set *set = slab->set;
	size_t granule = rdm_slab_granule(slab);
	size_t offered = rdm_slab_index_offered(&set->index, granule);

	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_assert(run && first + run <= slab->pages);
	rdm_assert(slab->free_pages + run <= slab->pages);
	rdm_assert(set->carved_pages >= run);
	rdm_bits_assign(slab->carved, first, run, false);
	slab->free_pages += run;
	set->carved_pages -= run;
	if (first < slab->hint)
		slab->hint = first;
	if (offered < slab->free_pages) {
		size_t pages = free_around(slab, first, run);

		if (offered < pages)
			rdm_slab_index_offer(&set->index, granule, pages);
	}
	if (slab->free_pages == slab->pages) {
		rdm_bits_set(set->index.idle, granule);
		set->watermark.idle += slab->length;
	}
}

static size_t first_of(const struct rdm_slab *slab, const struct rdm_run *run)
{
	return (size_t)(run->at - slab->base) >> rdm_state.page_shift;
}

/* Runs that are taken out for as long as it takes to discard them. */
#define TAKEN 32
struct taken {
	size_t count;
	struct rdm_run runs[TAKEN];
};

/* The warm pages of a granule that were free for long. False: there are none. */
static bool take_granule(struct rdm_slab_set *set, struct taken *taken)
{
	struct rdm_slab *slab;
	size_t first, end, run;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	if (!rdm_warm_find_old(set, &slab, &first, &end))
		return false;
	while (taken->count < TAKEN && rdm_warm_take(slab, &first, end, &run)) {
		take(slab, first, run);
		taken->runs[taken->count++] =
			(struct rdm_run){ .at = slab->base + (first << rdm_state.page_shift),
					  .size = run << rdm_state.page_shift };
	}
	return true;
}

/* What is warm above what may be; all: whatever is. */
static void take_old(struct rdm_slab_set *set, bool all, struct taken *taken)
{
	taken->count = 0;
	rdm_lock_take_inner(&set->lock);
	while (taken->count < TAKEN && (all || rdm_warm_is_excess(set)))
		if (!take_granule(set, taken))
			break;
	rdm_lock_release_inner(&set->lock);
}

static void put_back(struct rdm_slab_set *set, const struct taken *taken, bool discarded, bool all)
{
	rdm_lock_take_inner(&set->lock);
	for (size_t i = 0; i < taken->count; i++) {
		const struct rdm_run *run = &taken->runs[i];
		struct rdm_slab *slab = rdm_slab_of(run->at);

		uncarve(slab, first_of(slab, run), pages_of(run->size));
		if (!discarded)
			rdm_warm_restore(slab, first_of(slab, run), pages_of(run->size));
		else if (!all)
			set->warm.lost += pages_of(run->size);
	}
	rdm_lock_release_inner(&set->lock);
}

enum outcome { NOTHING, DISCARDED, REFUSED };

static enum outcome discard_old(struct rdm_slab_set *set, bool all)
{
	struct taken taken;
	bool discarded;

	take_old(set, all, &taken);
	if (!taken.count)
		return NOTHING;
	discarded = set->ops->discard(taken.runs, taken.count);
	put_back(set, &taken, discarded, all);
	return discarded ? DISCARDED : REFUSED;
}

/* Whether the run will not be warm: nobody can have it yet. */
static bool discard_at_once(struct rdm_slab_set *set, const struct rdm_run *run)
{
	size_t pages = pages_of(run->size);
	bool too_long;

	rdm_lock_take_inner(&set->lock);
	too_long = rdm_warm_is_too_long(set, pages);
	rdm_lock_release_inner(&set->lock);
	if (!too_long || !set->ops->discard(run, 1))
		return false;
	rdm_lock_take_inner(&set->lock);
	rdm_warm_lose(set, pages);
	rdm_lock_release_inner(&set->lock);
	return true;
}

static void uncarve_run(const struct rdm_run *run)
{
	struct rdm_slab *slab = rdm_slab_of(run->at);
	struct rdm_slab_set *set = slab->set;
	size_t first = first_of(slab, run);
	bool cold = set->ops->discard && discard_at_once(set, run);

	rdm_lock_take_inner(&set->lock);
	uncarve(slab, first, pages_of(run->size));
	if (!cold)
		rdm_warm_uncarved(slab, first, pages_of(run->size));
	rdm_lock_release_inner(&set->lock);
}

void rdm_slabs_uncarve(const struct rdm_run *run, size_t count)
{
	struct rdm_slab_set *set = count ? rdm_slab_of(run->at)->set : NULL;

	rdm_assert(run || !count);
	if (set && set->ops->uncarved)
		set->ops->uncarved(run, count);
	for (size_t i = 0; i < count; i++) {
		rdm_assert(rdm_slab_of(run[i].at)->set == set);
		uncarve_run(&run[i]);
	}
	if (set && set->ops->discard)
		while (discard_old(set, false) == DISCARDED)
			;
}

/* What is pinned comes round again. */
#define REFUSALS 64

void rdm_slabs_cool(struct rdm_slab_set *set)
{
	unsigned refusals = 0;
	enum outcome outcome;

	rdm_assert(rdm_gate_is_inside());
	if (!set->ops->discard)
		return;
	while ((outcome = discard_old(set, true)) != NOTHING && refusals < REFUSALS)
		refusals += outcome == REFUSED;
}

void rdm_slabs_uncarve_all(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	rdm_assert(rdm_quiesce_is_held());
	rdm_lock_take(&set->lock);
	set->watermark.idle = 0;
	set->watermark.whole = false;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (slab->quarantined)
			continue;
		/* As if every page had been carved. */
		set->carved_pages += slab->free_pages;
		slab->free_pages = 0;
		uncarve(slab, 0, slab->pages);
	}
	rdm_lock_release(&set->lock);
}

void rdm_slabs_lock(struct rdm_slab_set *set)
{
	rdm_lock_take(&set->lock);
}

void rdm_slabs_unlock(struct rdm_slab_set *set)
{
	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_lock_release(&set->lock);
}
