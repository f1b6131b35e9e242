/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/slab.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "memory/keymap.h"
#include "memory/keys.h"
#include "memory/meta.h"
#include "memory/reserve.h"
#include "memory/state.h"
#include "slab/registration.h"

int rdm_slabs_open_reserve(bool inheritable)
{
	size_t size;
	int error;

	if (rdm_reserve_size())
		return 0;
	error = rdm_reserve_open(&size, inheritable);
	if (error)
		return error;
	error = rdm_keymap_open(size);
	if (!error)
		error = rdm_state_open(size);
	if (!error)
		error = rdm_keys_open(size);
	if (!error) {
		rdm_reserve_publish();
	} else {
		rdm_log(RDM_LOG_ERROR,
			"no address space for the tables beside the reserve: raise RLIMIT_AS "
			"(ulimit -v) or set RDMALLOC_CONF=reserve:SIZE");
		rdm_state_close();
		rdm_keymap_close();
		rdm_reserve_close();
	}
	return error;
}

void rdm_slabs_init(struct rdm_slab_set *set, struct rdm_pool *pool, struct rdm_heap *heap)
{
	set->pool = pool;
	set->heap = heap;
	pthread_mutex_init(&set->lock, NULL);
	TAILQ_INIT(&set->slabs);
}

void rdm_slabs_destroy(struct rdm_slab_set *set)
{
	pthread_mutex_destroy(&set->lock);
	rdm_slab_index_free(&set->index);
}

/* Makes the index cover a granule. 0 or an errno value. */
static int cover(struct rdm_slab_set *set, size_t granule)
{
	struct rdm_slab_index wider;
	int error;

	if (granule < set->index.granules)
		return 0;
	error = rdm_slab_index_make(&wider, granule);
	if (error)
		return error;
	pthread_mutex_lock(&set->lock);
	rdm_slab_index_widen(&set->index, &wider);
	pthread_mutex_unlock(&set->lock);
	rdm_slab_index_free(&wider);
	return 0;
}

static void insert(struct rdm_slab_set *set, struct rdm_slab *slab)
{
	size_t granule = rdm_slab_granule(slab);
	size_t before;

	pthread_mutex_lock(&set->lock);
	before = rdm_bits_last(set->index.slabs, 0, granule, true);
	if (before == RDM_BITS_NONE)
		TAILQ_INSERT_HEAD(&set->slabs, slab, link);
	else
		TAILQ_INSERT_AFTER(&set->slabs, rdm_keymap[before], slab, link);
	rdm_bits_set(set->index.slabs, granule);
	rdm_bits_set(set->index.idle, granule);
	rdm_slab_index_offer(&set->index, granule, slab->quarantined ? 0 : slab->pages);
	if (!slab->quarantined) {
		set->bytes += slab->length;
		set->watermark.idle += slab->length;
	}
	pthread_mutex_unlock(&set->lock);
}

/* The slab is on no list. 0, or errno: then it is on the list, quarantined. */
static int release(struct rdm_slab *slab)
{
	struct rdm_slab_set *set = slab->set;
	int error = 0;

	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		int failed = rdm_slab_deregister(slab, i);

		if (failed)
			error = failed;
	}
	if (!error) {
		rdm_keymap_assign(slab->base, slab->length, NULL);
		error = rdm_reserve_give(slab->base, slab->length);
		if (!error) {
			if (set->ops->forget)
				set->ops->forget(slab);
			rdm_meta_free(slab);
			return 0;
		}
		rdm_log(RDM_LOG_ERROR, "cannot give back the slab %p: raise vm.max_map_count",
			(void *)slab->base);
	}
	slab->quarantined = true;
	set->quarantined += slab->length;
	/* Its neighbours are found through the map, and it has one key or more. */
	rdm_keymap_assign(slab->base, slab->length, slab);
	insert(set, slab);
	return error;
}

static struct rdm_slab *new_slab(struct rdm_slab_set *set, size_t length)
{
	size_t pages = length >> rdm_state.page_shift;
	size_t words = (pages + RDM_BITS_WORD - 1) / RDM_BITS_WORD;
	struct rdm_slab *slab;
	size_t size = sizeof(*slab) + words * sizeof(slab->carved[0]);

	slab = rdm_meta_alloc_aligned(size, RDM_CACHE_LINE);

	if (!slab) {
		rdm_log(RDM_LOG_ERROR, "no memory for the record of a slab of %zu MiB",
			length >> 20);
		return NULL;
	}
	slab->set = set;
	slab->heap = set->heap;
	slab->length = length;
	slab->pages = slab->free_pages = pages;
	return slab;
}

bool rdm_slabs_have_room(size_t length, size_t align)
{
	return rdm_reserve_has_room(length, align);
}

/* Slabs on their way into a set. */
struct run {
	struct rdm_slab *slab[RDM_RUN_MAX];
	size_t count;
	size_t bytes;
	char *base;
};

static void free_records(struct run *run)
{
	while (run->count)
		rdm_meta_free(run->slab[--run->count]);
}

/* Records and addresses. 0 or an errno value: then there is nothing to undo. */
static int begin_run(struct rdm_slab_set *set, struct run *run, size_t length, size_t align,
		     size_t count)
{
	run->bytes = length * count;
	run->base = NULL;
	for (run->count = 0; run->count < count; run->count++)
		if (!(run->slab[run->count] = new_slab(set, length)))
			break;
	if (run->count == count) {
		run->base = rdm_reserve_take(run->bytes, align);
		if (!run->base)
			rdm_log(set->ops->quiet ? RDM_LOG_INFO : RDM_LOG_ERROR,
				"the reserve of %zu MiB has no room for %zu MiB: set "
				"RDMALLOC_CONF=reserve:SIZE",
				rdm_reserve_size() >> 20, run->bytes >> 20);
	}
	if (!run->base) {
		free_records(run);
		return ENOMEM;
	}
	for (size_t i = 0; i < count; i++)
		run->slab[i]->base = run->base + i * length;
	return 0;
}

/* Tables beside the reserve, and memory. 0 or errno as rdm_prepare_map(). */
static int map_run(struct rdm_slab_set *set, struct run *run, bool last_try)
{
	enum rdm_log_level level = last_try ? RDM_LOG_ERROR : RDM_LOG_INFO;
	unsigned rails = rdm_slabs_open_rails(set);
	int error = cover(set, rdm_slab_granule(run->slab[run->count - 1]));

	if (!error)
		error = rdm_state_cover(run->base + run->bytes);
	for (int rail = 0; rail < RDM_RAILS_MAX && !error; rail++)
		if (rails & (1U << rail))
			error = rdm_keys_cover(rail, run->base + run->bytes);
	if (error) {
		rdm_log(level, "no memory for the tables beside %zu MiB of slabs",
			run->bytes >> 20);
		return error;
	}
	return set->ops->map(set, run->base, run->bytes, run->slab[0]->length, level);
}

/* Nothing is registered. */
static void abandon_run(struct run *run, int error)
{
	/* Somebody else's memory is there now: leave it alone for ever. */
	if (error == EADDRINUSE)
		rdm_reserve_keep(run->base, run->bytes, true);
	else if (rdm_reserve_give(run->base, run->bytes))
		rdm_log(RDM_LOG_ERROR, "cannot give back %zu MiB at %p: raise vm.max_map_count",
			run->bytes >> 20, (void *)run->base);
	free_records(run);
}

int rdm_slabs_add_run(struct rdm_slab_set *set, size_t length, size_t align, size_t count,
		      size_t *made)
{
	struct run run;
	int error;

	*made = 0;
	while (!(error = begin_run(set, &run, length, align, count)) &&
	       (error = map_run(set, &run, count == 1))) {
		abandon_run(&run, error);
		if (count == 1)
			break;
		count /= 2;
	}
	if (error)
		return error == EADDRINUSE ? ENOMEM : error;
	*made = run.count;
	if (set->ops->fill)
		error = set->ops->fill(set, run.slab, run.count, made);
	for (size_t i = 0; i < *made; i++) {
		rdm_keymap_assign(run.slab[i]->base, length, run.slab[i]);
		set->growths++;
		insert(set, run.slab[i]);
	}
	while (run.count > *made)
		release(run.slab[--run.count]);
	return error;
}

int rdm_slabs_add(struct rdm_slab_set *set, size_t length, size_t align)
{
	size_t made;

	return rdm_slabs_add_run(set, length, align, 1, &made);
}

static void unlink_slab(struct rdm_slab *slab)
{
	struct rdm_slab_set *set = slab->set;
	size_t granule = rdm_slab_granule(slab);

	TAILQ_REMOVE(&set->slabs, slab, link);
	rdm_bits_clear(set->index.slabs, granule);
	rdm_bits_clear(set->index.idle, granule);
	rdm_slab_index_offer(&set->index, granule, 0);
	if (slab->quarantined) {
		set->quarantined -= slab->length;
	} else {
		set->bytes -= slab->length;
		set->watermark.idle -= slab->length;
	}
	slab->quarantined = false;
}

/*
 * Takes the last slab before a granule that may go out of the set, and leaves
 * at least `keep` bytes in use. NULL if there is none.
 */
static struct rdm_slab *unlink_idle(struct rdm_slab_set *set, size_t *granule, size_t keep)
{
	struct rdm_slab *slab = NULL;

	pthread_mutex_lock(&set->lock);
	while (!slab &&
	       (*granule = rdm_bits_last(set->index.idle, 0, *granule, true)) != RDM_BITS_NONE) {
		slab = rdm_keymap[*granule];
		if (!slab->quarantined && set->bytes - slab->length < keep)
			slab = NULL;
		/* Its blocks have been freed, but a device still has them. */
		else if (set->ops->is_in_use && set->ops->is_in_use(slab))
			slab = NULL;
	}
	if (slab)
		unlink_slab(slab);
	pthread_mutex_unlock(&set->lock);
	return slab;
}

int rdm_slabs_trim(struct rdm_slab_set *set, size_t keep)
{
	size_t granule = set->index.granules;
	struct rdm_slab *slab;
	int error = 0;

	while ((slab = unlink_idle(set, &granule, keep))) {
		int failed = release(slab);

		if (failed)
			error = failed;
	}
	return error;
}

int rdm_slabs_adopt(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		int error;

		if (!rdm_slab_is_inherited(slab))
			continue;
		error = rdm_prepare_again(slab->base, slab->length, &set->kind);
		if (error)
			return error;
		atomic_store(&slab->keyed, 0);
		rdm_reserve_keep(slab->base, slab->length, false);
	}
	return 0;
}
