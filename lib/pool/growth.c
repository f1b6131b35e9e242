/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/growth.h"

#include <errno.h>
#include <stdint.h>

#include "base/contract.h"
#include "base/log.h"
#include "heap/cache.h"
#include "heap/caches.h"
#include "memory/reserve.h"
#include "slab/registration.h"
#include "sync/background.h"
#include "sync/quiesce.h"
#include "sync/workers.h"

static bool grow_ahead(void);

void rdm_growth_changed(struct rdm_pool *pool)
{
	rdm_assert(rdm_quiesce_is_held());
	pool->regions++;
	rdm_cache_quicken();
	rdm_watermark_renew(&pool->slabs);
	if (pool->slabs.watermark.bytes && pool->slabs.bytes)
		rdm_background_start(grow_ahead);
}

size_t rdm_growth_least(const struct rdm_memory_kind *kind)
{
	size_t page = rdm_prepare_page_size(kind);

	rdm_assert(kind->pages != RDM_PAGES_DEFAULT);
	return page > RDM_GRANULE ? page : RDM_GRANULE;
}

static int refuse_inherited(struct rdm_pool *pool)
{
	/* A program's own malloc serves it. */
	if (!pool->complained && !pool->slabs.ops->spills)
		rdm_log(RDM_LOG_ERROR,
			"pool %s was inherited through fork(): rdm_pool_reset() it or add a rail first",
			pool->name);
	pool->complained = true;
	return ECHILD;
}

static int refuse_limit(struct rdm_pool *pool, size_t length)
{
	rdm_assert(pool->limit);
	rdm_assert(length);
	if (!pool->complained)
		rdm_log(RDM_LOG_WARN,
			"pool %s has %zu MiB of slabs, %zu MiB more would pass its limit of %zu MiB",
			pool->name, pool->slabs.bytes >> 20,
			(length + RDM_GRANULE - 1) >> RDM_GRANULE_SHIFT << 1, pool->limit >> 20);
	pool->complained = true;
	return ENOMEM;
}

static size_t shortest_slab(const struct rdm_pool *pool, size_t size)
{
	size_t granule = rdm_growth_least(&pool->slabs.kind);

	rdm_assert(size);
	return (size + granule - 1) & ~(granule - 1);
}

static size_t usual_length(const struct rdm_pool *pool)
{
	size_t length = pool->slab_least;

	while (length && length < pool->slab_size && length * 2 <= pool->slabs.bytes)
		length *= 2;
	return length ? length : pool->slab_size;
}

/* Bytes of the slab to make for a run of `size`, 0 when the limit forbids it. */
static size_t slab_length(const struct rdm_pool *pool, size_t size)
{
	size_t granule = rdm_growth_least(&pool->slabs.kind);
	size_t used = pool->slabs.bytes + pool->slabs.quarantined;
	size_t room = !pool->limit ? SIZE_MAX : pool->limit > used ? pool->limit - used : 0;
	size_t max = rdm_slabs_max_length(&pool->slabs);
	size_t usual = usual_length(pool);
	size_t length, most;

	rdm_assert(rdm_quiesce_is_held());
	length = shortest_slab(pool, size);
	most = (room < max ? room : max) & ~(granule - 1);
	if (length > most)
		return 0;
	if (length < usual)
		length = usual < most ? usual : most;
	return length;
}

static int add_slab(struct rdm_pool *pool, size_t size, size_t align)
{
	size_t page = rdm_prepare_page_size(&pool->slabs.kind);
	size_t max = rdm_slabs_max_length(&pool->slabs);
	size_t length = slab_length(pool, size);
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(align && !(align & (align - 1)));
	align = align > page ? align : page;
	/* When few addresses are left a short slab is better than none. */
	if (length && !rdm_slabs_have_room(length, align))
		length = shortest_slab(pool, size);
	if (!length && shortest_slab(pool, size) > max) {
		rdm_log(RDM_LOG_ERROR,
			"pool %s: a rail registers at most %zu bytes, %zu are wanted", pool->name,
			max, size);
		return ENOMEM;
	}
	if (!length)
		return refuse_limit(pool, size);
	error = rdm_slabs_add(&pool->slabs, length, align);
	/* Where a limit is near, what is asked for may fit. */
	if (error && length > shortest_slab(pool, size))
		error = rdm_slabs_add(&pool->slabs, shortest_slab(pool, size), align);
	if (error)
		return error;
	pool->complained = false;
	atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
	rdm_growth_changed(pool);
	return 0;
}

/* Gives back empty slabs that are too short for what is wanted. True if there were any. */
static bool trim_idle(struct rdm_pool *pool)
{
	size_t before = pool->slabs.bytes;

	rdm_assert(rdm_quiesce_is_held());
	rdm_slabs_trim(&pool->slabs, 0);
	if (pool->slabs.bytes == before)
		return false;
	rdm_growth_changed(pool);
	return true;
}

/* Where the arena got blocks back one may do, so the caller tries again, unless others are faster. */
#define PATIENCE 3

/* Finds room in what threads and empty slabs hold. `error` is why no slab could be made, 0: none was. */
static int scrape_together(struct rdm_pool *pool, const struct rdm_want *want, bool patient,
			   int error)
{
	bool drained = rdm_caches_drain(&pool->heap) && patient;

	rdm_assert(want->size);
	rdm_arena_purge(&pool->heap.arena);
	if (drained || rdm_slabs_can_carve(&pool->slabs, want->size, want->align))
		return 0;
	/* Empty slabs count towards the limit, and use up what there is of addresses, memory, pins. */
	return trim_idle(pool) || !error ? add_slab(pool, want->size, want->align) : error;
}

static int grow(struct rdm_pool *pool, const struct rdm_want *want, unsigned generation,
		bool patient)
{
	bool drained;
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(want->size && want->align);
	if (atomic_load(&pool->heap.inherited))
		return refuse_inherited(pool);
	if (generation != rdm_pool_generation(pool))
		return 0;
	drained = rdm_caches_drain_depot(&pool->heap) && patient;
	rdm_arena_purge(&pool->heap.arena);
	if (drained || rdm_slabs_can_carve(&pool->slabs, want->size, want->align))
		return 0;
	if (want->size <= pool->slab_size)
		rdm_watermark_missed(&pool->slabs);
	if (slab_length(pool, want->size)) {
		error = add_slab(pool, want->size, want->align);
		if (!error)
			return 0;
	}
	return scrape_together(pool, want, patient, error);
}

/* What a vain try costs is worth that many blocks of another malloc's, at first and at most. */
#define SHORT_REST 16
#define LONG_REST 256

bool rdm_growth_rests(struct rdm_pool *pool)
{
	unsigned left = atomic_load_explicit(&pool->rest.left, memory_order_relaxed);

	/* Threads that count at once may count less: then it looks a bit later. */
	if (left)
		atomic_store_explicit(&pool->rest.left, left - 1, memory_order_relaxed);
	return left;
}

bool rdm_growth_has_regained(const struct rdm_pool *pool, size_t size)
{
	size_t carved = rdm_slabs_carved_bytes(&pool->slabs);

	return carved + size <= atomic_load_explicit(&pool->rest.carved, memory_order_relaxed);
}

static void rest(struct rdm_pool *pool)
{
	struct rdm_rest *rest = &pool->rest;

	rdm_assert(rdm_quiesce_is_held());
	if (!pool->slabs.ops->spills)
		return;
	rest->next = !rest->next ? SHORT_REST : rest->next < LONG_REST ? rest->next * 2 : LONG_REST;
	atomic_store(&rest->carved, rdm_slabs_carved_bytes(&pool->slabs));
	atomic_store(&rest->left, rest->next);
}

int rdm_pool_grow(struct rdm_pool *pool, const struct rdm_want *want, unsigned generation,
		  unsigned attempt, const char *caller)
{
	/* Somebody else serves what cannot be had now. */
	bool inside = pool->slabs.ops->spills ? rdm_quiesce_enter_unless_forking(caller) :
						rdm_quiesce_enter(caller);
	int error;

	if (!inside)
		return -1;
	error = grow(pool, want, generation, attempt < PATIENCE);
	if (error)
		rest(pool);
	else
		pool->rest.next = 0;
	return rdm_quiesce_leave(error);
}

/* Of the pools that want slabs, the one that has waited longest. */
static struct rdm_pool *find_waiting(void)
{
	struct rdm_pool *first = NULL;
	uint64_t least = UINT64_MAX;

	rdm_assert(rdm_quiesce_is_held());
	for (struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next) {
		uint64_t turn = rdm_watermark_turn(&pool->slabs);

		if (turn && turn < least && !atomic_load(&pool->heap.inherited)) {
			least = turn;
			first = pool;
		}
	}
	return first;
}

/* What the background thread does at a time: one slab. False: no pool wants any. */
static bool grow_ahead(void)
{
	struct rdm_pool *pool = find_waiting();
	struct rdm_slab_set *set;
	size_t more = 0;

	rdm_assert(rdm_quiesce_is_held());
	if (!pool)
		return false;
	set = &pool->slabs;
	if (rdm_watermark_is_new(set)) {
		rdm_caches_drain_depot(&pool->heap);
		rdm_arena_purge(&pool->heap.arena);
		/* With less than a slab more it would be asked again too soon. */
		more = pool->slab_size;
	}
	if (rdm_watermark_answered(set, more))
		return true;
	rdm_workers_prefer(set->watermark.node);
	if (!slab_length(pool, 1) || add_slab(pool, 1, RDM_GRANULE)) {
		rdm_watermark_made(set, false);
	} else {
		pool->background_growths++;
		rdm_watermark_made(set, true);
	}
	return true;
}

/* As much as fork() and other threads that grow have to wait for. */
#define RESERVE_STEP ((size_t)256 << 20)

/* How many slabs of that length to make at once for a pool that lacks so many bytes. */
static size_t batch_count(const struct rdm_pool *pool, size_t length, size_t bytes)
{
	size_t page = rdm_prepare_page_size(&pool->slabs.kind);
	size_t used = pool->slabs.bytes + pool->slabs.quarantined;
	size_t count = (bytes - 1) / length + 1;

	rdm_assert(length && bytes);
	if (count > RESERVE_STEP / length)
		count = RESERVE_STEP / length;
	if (count > RDM_BATCH_MAX)
		count = RDM_BATCH_MAX;
	if (pool->limit && count > (pool->limit - used) / length)
		count = (pool->limit - used) / length;
	while (count > 1 && !rdm_slabs_have_room(count * length, page))
		count /= 2;
	return count;
}

static int add_batch(struct rdm_pool *pool, size_t bytes)
{
	size_t page = rdm_prepare_page_size(&pool->slabs.kind);
	size_t length = slab_length(pool, 1);
	size_t count = length ? batch_count(pool, length, bytes) : 0;
	size_t made;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	if (count < 2)
		return add_slab(pool, 1, RDM_GRANULE);
	error = rdm_slabs_add_batch(&pool->slabs, length, page, count, &made);
	if (!made)
		return error;
	pool->complained = false;
	atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
	rdm_growth_changed(pool);
	return error;
}

/* One step, after which slabs of *done bytes are there. */
static int reserve(struct rdm_pool *pool, size_t bytes, size_t *done, const char *caller)
{
	int error;

	rdm_assert(done);
	if (atomic_load(&pool->heap.inherited))
		return refuse_inherited(pool);
	if (bytes > rdm_reserve_capacity()) {
		rdm_log(RDM_LOG_ERROR,
			"%s: %zu MiB is more than the reserve of %zu MiB: set "
			"RDMALLOC_CONF=reserve:SIZE",
			caller, bytes >> 20, rdm_reserve_capacity() >> 20);
		return ENOMEM;
	}
	if (pool->limit && bytes > pool->limit)
		return refuse_limit(pool, bytes - pool->slabs.bytes);
	error = pool->slabs.bytes < bytes ? add_batch(pool, bytes - pool->slabs.bytes) : 0;
	*done = pool->slabs.bytes;
	return error;
}

static int reserve_in_steps(rdm_pool *pool, size_t bytes,
			    int (*progress)(void *context, size_t done, size_t total),
			    void *context, const char *caller)
{
	size_t done = 0;

	if (!rdm_pool_check(pool, caller))
		return -1;
	do {
		if (!rdm_quiesce_enter(caller) ||
		    rdm_quiesce_leave(reserve(pool, bytes, &done, caller)))
			return -1;
		if (progress && progress(context, done < bytes ? done : bytes, bytes) &&
		    done < bytes) {
			errno = ECANCELED;
			return -1;
		}
	} while (done < bytes);
	return 0;
}

int rdm_pool_reserve_progress(rdm_pool *pool, size_t bytes,
			      int (*progress)(void *context, size_t done, size_t total),
			      void *context)
{
	return reserve_in_steps(pool, bytes, progress, context, "rdm_pool_reserve_progress");
}

int rdm_pool_reserve(rdm_pool *pool, size_t bytes)
{
	return reserve_in_steps(pool, bytes, NULL, NULL, "rdm_pool_reserve");
}

int rdm_pool_trim(rdm_pool *pool, size_t keep)
{
	int error;

	if (!rdm_pool_check(pool, "rdm_pool_trim") || !rdm_quiesce_enter("rdm_pool_trim"))
		return -1;
	if (atomic_load(&pool->heap.inherited))
		return rdm_quiesce_leave(refuse_inherited(pool));
	rdm_caches_drain(&pool->heap);
	rdm_arena_purge(&pool->heap.arena);
	error = rdm_slabs_trim(&pool->slabs, keep);
	rdm_growth_changed(pool);
	return rdm_quiesce_leave(error ? EBUSY : 0);
}

bool rdm_pool_return(struct rdm_pool *pool)
{
	size_t before, after, slabs;

	/* Whoever asks may hold a lock that a fork waits for. */
	if (!rdm_quiesce_enter_unless_forking("malloc_trim"))
		return false;
	before = rdm_slabs_in_memory(&pool->slabs);
	rdm_caches_drain(&pool->heap);
	rdm_arena_cool(&pool->heap.arena);
	after = rdm_slabs_in_memory(&pool->slabs);
	slabs = pool->slabs.bytes;
	rdm_slabs_trim(&pool->slabs, 0);
	if (pool->slabs.bytes != slabs)
		rdm_growth_changed(pool);
	slabs -= pool->slabs.bytes;
	rdm_quiesce_leave(0);
	return after < before || slabs;
}
