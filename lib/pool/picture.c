/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/picture.h"

#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/contract.h"
#include "base/size_class.h"
#include "memory/reserve.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "pool/pool.h"
#include "pool/stats.h"
#include "slab/live.h"
#include "slab/registration.h"
#include "sync/fork_count.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

#define CELL_SHIFT_MIN 16
/* A cell is in one slab, and counts to 65,535. */
#define CELL_SHIFT_MAX RDM_GRANULE_SHIFT

_Static_assert(RDM_PICTURE_RAILS == RDM_RAILS_MAX, "the page has room for all rails");
_Static_assert(RDM_POOL_NAME_BYTES <= sizeof(((struct rdm_picture_pool *)0)->name), "names fit");

/* As long as fork() and others have to wait for it at a time, if no slab takes longer. */
#define WAIT_NS UINT64_C(1000000)

/* A slab on its way into the picture. */
struct drawing {
	const struct rdm_slab *slab;
	struct rdm_picture_cell *cells; /* NULL: there is no room for them */
	unsigned shift;
	const char *next; /* the first block that is not drawn yet may be here */
	size_t live_bytes, live_blocks;
};

static void copy_text(char *to, const char *from, size_t size)
{
	size_t length = strnlen(from, size - 1);

	rdm_assert(size);
	memcpy(to, from, length);
	to[length] = '\0';
}

static size_t bytes_in_all(void)
{
	size_t bytes = 0;

	rdm_assert(rdm_quiesce_is_held());
	for (const struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next)
		bytes += pool->slabs.bytes + pool->slabs.quarantined;
	return bytes;
}

/* Such that half of the cells suffice: pools grow meanwhile. */
static unsigned choose_shift(void)
{
	size_t bytes;
	unsigned shift = CELL_SHIFT_MIN;

	rdm_quiesce_enter("statistics");
	bytes = bytes_in_all();
	rdm_quiesce_leave(0);
	while (shift < CELL_SHIFT_MAX && bytes >> shift > RDM_PICTURE_CELLS / 2)
		shift++;
	return shift;
}

/* The part of [from, end), offsets in a slab, that is in each cell. */
static void add_live(const struct drawing *drawing, size_t from, size_t end)
{
	while (drawing->cells && from < end) {
		size_t cell = from >> drawing->shift;
		size_t stop = (cell + 1) << drawing->shift;

		if (stop > end)
			stop = end;
		drawing->cells[cell].live += (uint16_t)((stop - from) >> RDM_UNIT_SHIFT);
		from = stop;
	}
}

static void draw_live(struct drawing *drawing, size_t end)
{
	const struct rdm_slab *slab = drawing->slab;

	rdm_assert(rdm_lock_is_mine(&drawing->slab->set->lock));
	while (drawing->next && drawing->next < slab->base + end) {
		size_t size, from, stop;
		char *block = rdm_live_next(slab, (char *)(uintptr_t)drawing->next, &size);

		drawing->next = block;
		if (!block || block >= slab->base + end)
			return;
		from = (size_t)(block - slab->base);
		stop = size < slab->length - from ? from + size : slab->length;
		add_live(drawing, from, stop);
		drawing->live_bytes += size;
		drawing->live_blocks++;
		drawing->next = slab->base + stop;
	}
}

static void draw_carved(const struct drawing *drawing, size_t from, size_t end)
{
	const unsigned long *carved = drawing->slab->carved;
	unsigned units = rdm_state.page_shift - RDM_UNIT_SHIFT;
	unsigned pages = drawing->shift - rdm_state.page_shift;
	size_t last = end >> rdm_state.page_shift;

	rdm_assert(rdm_lock_is_mine(&drawing->slab->set->lock));
	rdm_assert(from < end && end <= drawing->slab->length);
	for (size_t page = from >> rdm_state.page_shift; drawing->cells && page < last; page++) {
		page = rdm_bits_next(carved, last, page, true);
		if (page < last)
			drawing->cells[page >> pages].carved += (uint16_t)(1U << units);
	}
}

/* The set's lock is taken anew for each granule: carving need not wait for all of a slab. */
static void draw_cells(struct drawing *drawing, struct rdm_slab_set *set)
{
	const struct rdm_slab *slab = drawing->slab;

	for (size_t from = 0; from < slab->length; from += RDM_GRANULE) {
		rdm_slabs_lock(set);
		draw_carved(drawing, from, from + RDM_GRANULE);
		draw_live(drawing, from + RDM_GRANULE);
		rdm_slabs_unlock(set);
	}
}

/* NULL: there is no room for it, or for its cells. */
static struct rdm_picture_slab *add_slab(struct rdm_picture *picture, size_t length)
{
	struct rdm_picture_header *header = &picture->header;
	size_t cells = length >> header->cell_shift;
	struct rdm_picture_slab *slab;

	rdm_assert(length);
	if (header->slabs == RDM_PICTURE_SLABS || cells > RDM_PICTURE_CELLS - header->cells) {
		header->slabs_left_out++;
		return NULL;
	}
	slab = &picture->slabs[header->slabs++];
	*slab = (struct rdm_picture_slab){ .first_cell = header->cells };
	header->cells += (uint32_t)cells;
	memset(picture->cells + slab->first_cell, 0, cells * sizeof(picture->cells[0]));
	return slab;
}

static void draw_slab(struct rdm_picture *picture, const struct rdm_slab *slab,
		      struct rdm_picture_pool *pool)
{
	struct rdm_picture_slab *drawn = add_slab(picture, slab->length);
	struct drawing drawing = {
		.slab = slab,
		.cells = drawn ? picture->cells + drawn->first_cell : NULL,
		.shift = picture->header.cell_shift,
		.next = slab->base,
	};
	size_t pinned = slab->set->ops->pinned_bytes(slab);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(slab->set->ops->pinned_bytes);
	draw_cells(&drawing, slab->set);
	pool->live_bytes += drawing.live_bytes;
	pool->live_blocks += drawing.live_blocks;
	pool->pinned_bytes += pinned;
	if (!drawn)
		return;
	drawn->base = (uintptr_t)slab->base;
	drawn->length = slab->length;
	drawn->pinned_bytes = pinned;
	drawn->pool = picture->header.pools;
	drawn->rails = rdm_slab_rails(slab);
	drawn->quarantined = slab->quarantined;
}

static void describe(struct rdm_picture_pool *drawn, struct rdm_pool *pool)
{
	const struct rdm_slab_set *set = &pool->slabs;
	struct rdm_stats stats;

	rdm_assert(rdm_quiesce_is_held());
	rdm_stats_read(pool, &stats);
	*drawn = (struct rdm_picture_pool){
		.flags = (stats.inherited ? RDM_PICTURE_POOL_INHERITED : 0U) |
			 set->ops->picture_flags,
		.backing = set->kind.backing,
		.pages = set->kind.pages,
		.fork = set->fork,
		.node = set->kind.node,
		.rails = (uint32_t)stats.rails,
		.slab_size = pool->slab_size,
		.limit = stats.limit,
		.slabs = stats.slabs,
		.slab_bytes = stats.slab_bytes,
		.carved_bytes = stats.carved_bytes,
		.magazine_bytes = stats.magazine_bytes,
		.depot_bytes = stats.depot_bytes,
		.quarantined = stats.quarantined,
		.registrations = stats.registrations,
		.deregistrations = stats.deregistrations,
		.growths = stats.growths,
		.background_growths = stats.background_growths,
	};
	/* The parent's pages are not the child's. */
	if (!stats.inherited) {
		drawn->audit_time_ns = pool->audited.time_ns;
		drawn->audit_pages = pool->audited.pages;
		drawn->audit_violations = pool->audited.violations;
	}
	rdm_depot_count(&pool->heap.depot, &drawn->refills, &drawn->refills_served);
	copy_text(drawn->name, pool->name, sizeof(drawn->name));
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		if (set->rails[i].used)
			copy_text(drawn->rail_names[i], set->rails[i].registrar.name,
				  sizeof(drawn->rail_names[i]));
}

/* Of the pools from that slot on the first. */
static struct rdm_pool *find_pool(unsigned slot)
{
	struct rdm_pool *found = NULL;

	rdm_assert(rdm_quiesce_is_held());
	for (struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next)
		if (pool->heap.slot >= slot && (!found || pool->heap.slot < found->heap.slot))
			found = pool;
	return found;
}

/* Lets others in who wait for the quiesce lock. False: the pool has gone meanwhile. */
static bool make_way(const struct rdm_pool *pool, unsigned slot)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_quiesce_leave(0);
	rdm_quiesce_enter("statistics");
	return find_pool(slot) == pool;
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Draws slabs from a granule on for as long as others should wait. False: there are no more. */
static bool draw_slabs(struct rdm_picture *picture, const struct rdm_pool *pool, size_t *granule)
{
	const struct rdm_slab_index *index = &pool->slabs.index;
	uint64_t end = clock_ns() + WAIT_NS;

	rdm_assert(rdm_quiesce_is_held());
	do {
		*granule = rdm_bits_next(index->slabs, index->granules, *granule, true);
		if (*granule >= index->granules)
			return false;
		draw_slab(picture, rdm_slab_map[*granule], &picture->pools[picture->header.pools]);
		(*granule)++;
	} while (clock_ns() < end);
	return true;
}

static void draw_pool(struct rdm_picture *picture, struct rdm_pool *pool)
{
	struct rdm_picture_header *header = &picture->header;
	const struct rdm_picture_header before = *header;
	unsigned slot = pool->heap.slot;
	size_t granule = 0;

	rdm_assert(rdm_quiesce_is_held());
	if (header->pools == RDM_PICTURE_POOLS) {
		header->pools_left_out++;
		return;
	}
	describe(&picture->pools[header->pools], pool);
	while (draw_slabs(picture, pool, &granule))
		if (!make_way(pool, slot)) {
			*header = before;
			return;
		}
	header->pools++;
}

void rdm_picture_draw(struct rdm_picture *picture)
{
	struct rdm_picture_header *header = &picture->header;
	struct rdm_pool *pool;
	unsigned slot = 0;

	header->cell_shift = choose_shift();
	header->pools = header->slabs = header->cells = 0;
	header->pools_left_out = header->slabs_left_out = 0;
	do {
		rdm_quiesce_enter("statistics");
		pool = find_pool(slot);
		if (pool) {
			/* Before it is drawn: it may go meanwhile. */
			slot = pool->heap.slot + 1;
			draw_pool(picture, pool);
		}
		rdm_quiesce_leave(0);
	} while (pool);
	header->forks = rdm_fork_count();
	header->last_fork_ns = rdm_fork_last_ns();
	header->reserve_base = rdm_reserve.base;
	header->reserve_bytes = rdm_reserve_capacity();
	header->page_bytes = UINT64_C(1) << rdm_state.page_shift;
}
