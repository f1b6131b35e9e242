/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/slab.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/bits.h"
#include "base/blame.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/keys.h"
#include "memory/meta.h"
#include "memory/reserve.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "slab/fresh.h"
#include "slab/registration.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

int rdm_slabs_open_reserve(bool inheritable)
{
	size_t size;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	if (rdm_reserve_capacity())
		return 0;
	error = rdm_reserve_open(inheritable);
	if (error)
		return error;
	size = rdm_reserve_capacity();
	error = rdm_slab_map_open(size);
	if (!error)
		error = rdm_state_open(size);
	if (!error)
		error = rdm_keys_open(size);
	if (error) {
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){
				  error, RDM_WANT_ADDRESSES | RDM_WANT_MEMORY | RDM_WANT_MAPPINGS,
				  RDM_GRANULE, "set RDMALLOC_CONF=reserve:SIZE" },
			  "no addresses for the tables beside the reserve");
		rdm_keys_close();
		rdm_state_close();
		rdm_slab_map_close();
		rdm_reserve_close();
	}
	return error;
}

/* Entries of all tables for addresses before `end`. 0 or an errno value. */
static int cover_tables(const void *end, bool keys)
{
	int error = rdm_slab_map_cover(end);

	rdm_assert(rdm_quiesce_is_held());
	if (!error)
		error = rdm_state_cover(end);
	if (!error && keys)
		error = rdm_keys_cover(end);
	if (!error)
		rdm_reserve_extend(end);
	return error;
}

void rdm_slabs_init(struct rdm_slab_set *set, struct rdm_pool *pool, struct rdm_heap *heap)
{
	rdm_assert(set->ops && set->ops->map && set->ops->pinned_bytes);
	rdm_assert(set->ops->prefork && set->ops->postfork_parent && set->ops->postfork_child);
	set->pool = pool;
	set->heap = heap;
	rdm_lock_init(&set->lock, RDM_RANK_SET);
	TAILQ_INIT(&set->slabs);
}

void rdm_slabs_destroy(struct rdm_slab_set *set)
{
	rdm_assert(TAILQ_EMPTY(&set->slabs));
	rdm_assert(!set->bytes && !set->quarantined && !set->carved_pages);
	rdm_lock_destroy(&set->lock);
	rdm_slab_index_free(&set->index);
}

/* Makes the index cover a granule. 0 or an errno value. */
static int cover(struct rdm_slab_set *set, size_t granule)
{
	struct rdm_slab_index wider;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	if (granule < set->index.granules)
		return 0;
	error = rdm_slab_index_make(&wider, granule);
	if (error)
		return error;
	rdm_lock_take(&set->lock);
	rdm_slab_index_widen(&set->index, &wider);
	rdm_lock_release(&set->lock);
	rdm_slab_index_free(&wider);
	return 0;
}

static void insert(struct rdm_slab_set *set, struct rdm_slab *slab)
{
	size_t granule = rdm_slab_granule(slab);
	size_t before;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(slab->free_pages == slab->pages);
	rdm_assert(rdm_slab_map[granule] == slab);
	rdm_lock_take(&set->lock);
	before = rdm_bits_last(set->index.slabs, 0, granule, true);
	if (before == RDM_BITS_NONE)
		TAILQ_INSERT_HEAD(&set->slabs, slab, link);
	else
		TAILQ_INSERT_AFTER(&set->slabs, rdm_slab_map[before], slab, link);
	rdm_bits_set(set->index.slabs, granule);
	rdm_bits_set(set->index.idle, granule);
	rdm_slab_index_offer(&set->index, granule, slab->quarantined ? 0 : slab->pages);
	if (!slab->quarantined) {
		set->bytes += slab->length;
		set->watermark.idle += slab->length;
	}
	rdm_lock_release(&set->lock);
}

/* The slab is on no list. 0, or errno: then it is on the list, quarantined. */
static int release(struct rdm_slab *slab)
{
	struct rdm_slab_set *set = slab->set;
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(slab->free_pages == slab->pages);
	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		int failed = rdm_slab_deregister(slab, i);

		if (failed)
			error = failed;
	}
	if (!error) {
		rdm_slab_map_assign(slab->base, slab->length, NULL);
		error = rdm_reserve_release(slab->base, slab->length);
		if (!error) {
			if (set->ops->forget)
				set->ops->forget(slab);
			rdm_meta_free(slab);
			return 0;
		}
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){ error, RDM_WANT_MAPPINGS, slab->length, NULL },
			  "cannot give back the slab %p", (void *)slab->base);
	}
	slab->quarantined = true;
	set->quarantined += slab->length;
	/* Its neighbours are found through the map, and it has one key or more. */
	rdm_slab_map_assign(slab->base, slab->length, slab);
	insert(set, slab);
	return error;
}

static struct rdm_slab *new_slab(struct rdm_slab_set *set, size_t length)
{
	size_t pages = length >> rdm_state.page_shift;
	size_t words = (pages + RDM_BITS_WORD - 1) / RDM_BITS_WORD;
	struct rdm_slab *slab;
	size_t more = rdm_fresh_words(set, pages);
	size_t bits = sizeof(*slab) + (words + more) * sizeof(slab->carved[0]);
	size_t size = bits + (set->ops->discard ? rdm_warm_size(pages) : 0);

	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	slab = rdm_meta_alloc_aligned(size, RDM_CACHE_LINE);

	if (!slab) {
		rdm_blame(RDM_LOG_ERROR, &rdm_meta_failure,
			  "no memory for the record of a slab of %zu MiB", length >> 20);
		return NULL;
	}
	slab->set = set;
	slab->heap = set->heap;
	slab->length = length;
	slab->pages = slab->free_pages = pages;
	slab->used = more ? slab->carved + words : NULL;
	if (set->ops->discard)
		rdm_warm_attach(slab, (char *)slab + bits);
	return slab;
}

bool rdm_slabs_have_room(size_t length, size_t align)
{
	rdm_assert(rdm_quiesce_is_held());
	return rdm_reserve_has_room(length, align);
}

/* Slabs on their way into a set. */
struct batch {
	struct rdm_slab *slab[RDM_BATCH_MAX];
	size_t count;
	size_t bytes;
	char *base;
};

static void free_records(struct batch *batch)
{
	while (batch->count)
		rdm_meta_free(batch->slab[--batch->count]);
}

static void say_no_addresses(const struct rdm_slab_set *set, size_t bytes, int error)
{
	enum rdm_log_level level = set->ops->spills ? RDM_LOG_INFO : RDM_LOG_ERROR;

	if (error == ENOSPC)
		rdm_log(level,
			"the reserve of %zu MiB has no room for %zu MiB: set RDMALLOC_CONF=reserve:SIZE",
			rdm_reserve_capacity() >> 20, bytes >> 20);
	else
		rdm_blame(level,
			  &(struct rdm_failure){
				  error, RDM_WANT_ADDRESSES | RDM_WANT_MAPPINGS | RDM_WANT_PINS,
				  bytes, NULL },
			  "no addresses for a slab of %zu MiB", bytes >> 20);
}

/* Records and addresses. 0 or an errno value: then there is nothing to undo. */
static int begin_batch(struct rdm_slab_set *set, struct batch *batch, size_t length, size_t align,
		       size_t count)
{
	rdm_assert(count && count <= RDM_BATCH_MAX);
	batch->bytes = length * count;
	batch->base = NULL;
	for (batch->count = 0; batch->count < count; batch->count++)
		if (!(batch->slab[batch->count] = new_slab(set, length)))
			break;
	if (batch->count == count) {
		batch->base = rdm_reserve_take(batch->bytes, align);
		if (!batch->base)
			say_no_addresses(set, batch->bytes, errno);
	}
	if (!batch->base) {
		free_records(batch);
		return ENOMEM;
	}
	for (size_t i = 0; i < count; i++)
		batch->slab[i]->base = batch->base + i * length;
	return 0;
}

/* Tables beside the reserve, and memory. 0 or errno as rdm_prepare_map(). */
static int map_batch(struct rdm_slab_set *set, struct batch *batch, bool last_try)
{
	enum rdm_log_level level = last_try && !set->ops->spills ? RDM_LOG_ERROR : RDM_LOG_INFO;
	int error = cover(set, rdm_slab_granule(batch->slab[batch->count - 1]));

	rdm_assert(batch->base && batch->count);
	if (!error)
		error = cover_tables(batch->base + batch->bytes, rdm_slabs_open_rails(set));
	if (error) {
		rdm_blame(level,
			  &(struct rdm_failure){ error, RDM_WANT_MEMORY | RDM_WANT_MAPPINGS,
						 batch->bytes / RDM_UNIT, NULL },
			  "no memory for the tables beside %zu MiB of slabs", batch->bytes >> 20);
		return error;
	}
	return set->ops->map(set, batch->base, batch->bytes, batch->slab[0]->length, level);
}

/* Nothing is registered. */
static void abandon_batch(struct batch *batch, int error)
{
	rdm_assert(batch->base);
	/* Somebody else's memory is there now: leave it alone for ever. */
	if (error == EADDRINUSE)
		rdm_reserve_keep(batch->base, batch->bytes, true);
	else if ((error = rdm_reserve_release(batch->base, batch->bytes)))
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){ error, RDM_WANT_MAPPINGS, batch->bytes, NULL },
			  "cannot give back %zu MiB at %p", batch->bytes >> 20,
			  (void *)batch->base);
	free_records(batch);
}

int rdm_slabs_add_batch(struct rdm_slab_set *set, size_t length, size_t align, size_t count,
			size_t *made)
{
	struct batch batch;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(made);
	*made = 0;
	while (!(error = begin_batch(set, &batch, length, align, count)) &&
	       (error = map_batch(set, &batch, count == 1))) {
		abandon_batch(&batch, error);
		if (count == 1)
			break;
		count /= 2;
	}
	if (error)
		return error == EADDRINUSE ? ENOMEM : error;
	*made = batch.count;
	if (set->ops->fill)
		error = set->ops->fill(set, batch.slab, batch.count, made);
	for (size_t i = 0; i < *made; i++) {
		rdm_slab_map_assign(batch.slab[i]->base, length, batch.slab[i]);
		set->growths++;
		rdm_assert(rdm_slab_keys_agree(batch.slab[i]));
		insert(set, batch.slab[i]);
	}
	while (batch.count > *made)
		release(batch.slab[--batch.count]);
	return error;
}

int rdm_slabs_add(struct rdm_slab_set *set, size_t length, size_t align)
{
	size_t made;

	return rdm_slabs_add_batch(set, length, align, 1, &made);
}

static void unlink_slab(struct rdm_slab *slab)
{
	struct rdm_slab_set *set = slab->set;
	size_t granule = rdm_slab_granule(slab);

	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_assert(slab->free_pages == slab->pages);
	rdm_assert(slab->quarantined || set->bytes >= slab->length);
	TAILQ_REMOVE(&set->slabs, slab, link);
	rdm_bits_clear(set->index.slabs, granule);
	rdm_bits_clear(set->index.idle, granule);
	rdm_slab_index_offer(&set->index, granule, 0);
	rdm_warm_forget(slab);
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

	rdm_lock_take(&set->lock);
	while (!slab &&
	       (*granule = rdm_bits_last(set->index.idle, 0, *granule, true)) != RDM_BITS_NONE) {
		slab = rdm_slab_map[*granule];
		if (!slab->quarantined && set->bytes - slab->length < keep)
			slab = NULL;
		/* Its blocks have been freed, but a device still has them. */
		else if (set->ops->is_in_use && set->ops->is_in_use(slab))
			slab = NULL;
	}
	if (slab)
		unlink_slab(slab);
	rdm_lock_release(&set->lock);
	return slab;
}

int rdm_slabs_trim(struct rdm_slab_set *set, size_t keep)
{
	size_t granule = set->index.granules;
	struct rdm_slab *slab;
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
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

	rdm_assert(rdm_quiesce_is_held());
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
