/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/warm.h"

#include "base/bits.h"
#include "base/contract.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "slab/slab.h"

/* What may be warm in any case, and for each page that is carved a part of one. */
#define LEAST_BYTES ((size_t)1 << 20)
#define PART 16
/* No more credit than for so many of the longest runs. */
#define LONGEST_RUNS 3
/* Longer runs are discarded at once, as malloc's own are. */
#define LONG_BYTES ((size_t)32 << 20)
/* How many granules with warm pages are compared for the oldest. */
#define COMPARED 32
/* Old enough to be taken without a look at others. */
#define OLD 2

static size_t granule_pages(void)
{
	return RDM_GRANULE >> rdm_state.page_shift;
}

static size_t words_of(size_t pages)
{
	return (pages + RDM_BITS_WORD - 1) / RDM_BITS_WORD;
}

size_t rdm_warm_size(size_t pages)
{
	size_t granules = (pages + granule_pages() - 1) / granule_pages();

	return words_of(pages) * sizeof(unsigned long) + granules * sizeof(struct rdm_warmth);
}

void rdm_warm_attach(struct rdm_slab *slab, void *memory)
{
	rdm_assert(memory && slab->pages);
	slab->warm = memory;
	slab->warmth = (void *)(slab->warm + words_of(slab->pages));
}

/* Pages of a run that are in one granule; 0: it has ended. */
static size_t part_in_granule(size_t first, size_t end)
{
	size_t next = (first / granule_pages() + 1) * granule_pages();

	return (next < end ? next : end) - first;
}

/* So many of the pages are warm no longer. */
static size_t cool(struct rdm_slab *slab, size_t first, size_t run)
{
	size_t cooled = 0, end = first + run, part;

	rdm_assert(rdm_lock_is_mine(&slab->set->lock));
	for (; first < end; first += part) {
		struct rdm_warmth *warmth = &slab->warmth[first / granule_pages()];
		size_t from = first, until;

		part = part_in_granule(first, end);
		while (warmth->pages && (from = rdm_bits_next(slab->warm, first + part, from,
							      true)) < first + part) {
			until = rdm_bits_next(slab->warm, first + part, from, false);
			rdm_bits_assign(slab->warm, from, until - from, false);
			rdm_assert(warmth->pages >= until - from);
			warmth->pages -= (uint16_t)(until - from);
			cooled += until - from;
			from = until;
		}
	}
	rdm_assert(slab->set->warm.pages >= cooled);
	slab->set->warm.pages -= cooled;
	return cooled;
}

static size_t allowance(const struct rdm_slab_set *set)
{
	size_t pages = (LEAST_BYTES >> rdm_state.page_shift) + set->carved_pages / PART;

	return pages + set->warm.credit;
}

void rdm_warm_carved(struct rdm_slab *slab, size_t first, size_t run)
{
	struct rdm_warm *warm = &slab->set->warm;
	size_t missed;

	if (!slab->warm)
		return;
	missed = run - cool(slab, first, run);
	if (missed > warm->lost)
		missed = warm->lost;
	warm->lost -= missed;
	warm->credit += missed;
	if (warm->credit > LONGEST_RUNS * warm->longest)
		warm->credit = LONGEST_RUNS * warm->longest;
	warm->fallen -= run < warm->fallen ? run : warm->fallen;
}

/* What becomes free and is not carved again for long was not needed as much as it seemed. */
static void fall(struct rdm_slab_set *set, size_t run)
{
	struct rdm_warm *warm = &set->warm;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	if (run > warm->longest)
		warm->longest = run;
	warm->fallen += run;
	if (warm->fallen > warm->longest && warm->fallen > allowance(set) / 2) {
		warm->credit /= 2;
		warm->fallen = 0;
	}
}

void rdm_warm_restore(struct rdm_slab *slab, size_t first, size_t run)
{
	size_t end = first + run, part;

	rdm_assert(rdm_bits_next(slab->warm, end, first, true) == end);
	rdm_bits_assign(slab->warm, first, run, true);
	slab->set->warm.pages += run;
	for (; first < end; first += part) {
		struct rdm_warmth *warmth = &slab->warmth[first / granule_pages()];

		part = part_in_granule(first, end);
		warmth->pages += (uint16_t)part;
		warmth->epoch = slab->set->warm.epoch;
	}
}

void rdm_warm_uncarved(struct rdm_slab *slab, size_t first, size_t run)
{
	struct rdm_warm *warm = &slab->set->warm;

	if (!slab->warm)
		return;
	rdm_warm_restore(slab, first, run);
	fall(slab->set, run);
	warm->stirred += run;
	if (warm->stirred > allowance(slab->set) / 2) {
		warm->stirred = 0;
		warm->epoch++;
	}
}

bool rdm_warm_is_too_long(const struct rdm_slab_set *set, size_t run)
{
	return run >= LONG_BYTES >> rdm_state.page_shift || run > allowance(set);
}

void rdm_warm_lose(struct rdm_slab_set *set, size_t run)
{
	rdm_assert(rdm_lock_is_mine(&set->lock));
	if (run >= LONG_BYTES >> rdm_state.page_shift)
		return;
	set->warm.lost += run;
	fall(set, run);
}

bool rdm_warm_is_excess(const struct rdm_slab_set *set)
{
	return set->warm.pages > allowance(set);
}

static const struct rdm_warmth *warmth_at(const struct rdm_slab_set *set, size_t granule,
					  struct rdm_slab **slab)
{
	*slab = rdm_slab_map[granule];
	if (!*slab || (*slab)->set != set || !(*slab)->warm)
		return NULL;
	return &(*slab)->warmth[granule - rdm_slab_granule(*slab)];
}

bool rdm_warm_find_old(struct rdm_slab_set *set, struct rdm_slab **slab, size_t *first, size_t *end)
{
	size_t granules = set->index.granules, at = set->warm.hand, oldest = RDM_BITS_NONE;
	unsigned age = 0, seen = 0;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	for (size_t i = 0; set->warm.pages && i < granules && seen < COMPARED && age < OLD; i++) {
		const struct rdm_warmth *warmth;

		at = at + 1 < granules ? at + 1 : 0;
		warmth = warmth_at(set, at, slab);
		if (!warmth || !warmth->pages)
			continue;
		seen++;
		if (oldest == RDM_BITS_NONE || (uint16_t)(set->warm.epoch - warmth->epoch) > age) {
			oldest = at;
			age = (uint16_t)(set->warm.epoch - warmth->epoch);
		}
	}
	if (oldest == RDM_BITS_NONE)
		return false;
	set->warm.hand = oldest;
	*slab = rdm_slab_map[oldest];
	*first = (oldest - rdm_slab_granule(*slab)) * granule_pages();
	*end = *first + granule_pages() < (*slab)->pages ? *first + granule_pages() :
							   (*slab)->pages;
	return true;
}

bool rdm_warm_take(struct rdm_slab *slab, size_t *first, size_t end, size_t *run)
{
	size_t until;

	rdm_assert(slab->warm && end <= slab->pages);
	*first = rdm_bits_next(slab->warm, end, *first, true);
	if (*first == end)
		return false;
	until = rdm_bits_next(slab->warm, end, *first, false);
	*run = until - *first;
	cool(slab, *first, *run);
	return true;
}

void rdm_warm_forget(struct rdm_slab *slab)
{
	if (slab->warm)
		cool(slab, 0, slab->pages);
}
