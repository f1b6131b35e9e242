/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/inherit.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/contract.h"
#include "base/kernel.h"
#include "fork/snapshot.h"
#include "memory/state.h"
#include "plain/pins.h"
#include "plain/present.h"
#include "slab/live.h"
#include "sync/lock.h"

/* What there is of plain memory, which may never have been touched: a look must not make it. */
static void copy_present(char *shadow, const struct rdm_slab *slab, const char *from,
			 const char *end, int pagemap)
{
	size_t length;
	bool present;

	rdm_assert(shadow);
	rdm_assert(from <= end);
	for (; from < end; from += length) {
		length = rdm_present_run(pagemap, from, end, &present);
		if (present)
			rdm_snapshot_copy(shadow + (from - slab->base), from, length);
	}
}

/* The parts of a block that children do not inherit. */
static void copy_pinned(char *shadow, const struct rdm_slab *slab, char *block, char *end,
			int pagemap)
{
	size_t length;

	for (char *run = block; rdm_pins_next(slab, run, end, &run, &length); run += length)
		copy_present(shadow, slab, run, run + length, pagemap);
}

void rdm_inherit_copy_all(const struct rdm_slab *slab, char *shadow)
{
	int pagemap = rdm_present_open();
	size_t size;

	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size)
		copy_present(shadow, slab, block, block + size, pagemap);
	rdm_present_close(pagemap);
}

void rdm_inherit_copy_pinned(const struct rdm_slab *slab, char *shadow)
{
	int pagemap = rdm_present_open();
	size_t size;

	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size)
		copy_pinned(shadow, slab, block, block + size, pagemap);
	rdm_present_close(pagemap);
}

void rdm_inherit_prefork(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_pins_prefork_set(set);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		size_t bytes;
		char *run;

		if (rdm_pins_next(slab, slab->base, slab->base + slab->length, &run, &bytes))
			rdm_snapshot_take(slab, bytes);
	}
}

void rdm_inherit_postfork_parent(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link)
		rdm_snapshot_drop(slab);
	rdm_pins_postfork_parent_set(set);
}

static void place_run(const struct rdm_slab *slab, char *run, size_t length)
{
	char *copy = (char *)slab->shadow + (run - slab->base);

	if (!slab->shadow || !rdm_kernel_move(copy, run, length, 0))
		rdm_snapshot_place_hole(run, length);
}

static bool is_hole(char *page, size_t length)
{
	unsigned char unused;

	return syscall(SYS_mincore, page, length, &unused) && errno == ENOMEM;
}

/* Of pages that were registered while this process was made some are here, and their copies half done. */
static void place_in_holes(const struct rdm_slab *slab, char *run, size_t length)
{
	size_t page = (size_t)1 << rdm_state.page_shift;

	for (size_t at = 0; at < length; at += page)
		if (is_hole(run + at, page))
			place_run(slab, run + at, page);
}

/* The pinned pages of a heritable slab; around them the child has its own. */
static void place_pinned(struct rdm_slab *slab)
{
	bool late = atomic_load(&slab->pinned_late);
	char *end = slab->base + slab->length;
	size_t length;

	for (char *run = slab->base; rdm_pins_next(slab, run, end, &run, &length); run += length)
		(late ? place_in_holes : place_run)(slab, run, length);
	if (late)
		atomic_store(&slab->pinned_late, false);
	rdm_snapshot_drop(slab);
}

void rdm_inherit_postfork_child(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	TAILQ_FOREACH (slab, &set->slabs, link)
		place_pinned(slab);
	rdm_pins_postfork_child_set(set);
}
