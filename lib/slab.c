/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab.h"

#include <errno.h>
#include <stdint.h>

#include "bits.h"
#include "emap.h"
#include "keymap.h"
#include "log.h"
#include "meta.h"
#include "reserve.h"
#include "state.h"

int rdm_slabs_open_reserve(void)
{
	size_t size;
	int error;

	if (rdm_reserve_size())
		return 0;
	error = rdm_reserve_open(&size);
	if (error)
		return error;
	error = rdm_keymap_open(size);
	if (!error)
		error = rdm_state_open(size);
	if (!error)
		error = rdm_emap_open(size);
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

void rdm_slabs_init(struct rdm_slab_set *set, struct rdm_pool *pool)
{
	set->pool = pool;
	pthread_mutex_init(&set->lock, NULL);
	TAILQ_INIT(&set->slabs);
}

void rdm_slabs_destroy(struct rdm_slab_set *set)
{
	pthread_mutex_destroy(&set->lock);
	rdm_slab_index_free(&set->index);
}

size_t rdm_slabs_max_length(const struct rdm_slab_set *set)
{
	size_t least = SIZE_MAX;

	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		const struct rdm_rail *rail = &set->rails[i];

		if (rail->used && rail->registrar.max_len && rail->registrar.max_len < least)
			least = rail->registrar.max_len & ~(RDM_GRANULE - 1);
	}
	return least;
}

static int register_slab(struct rdm_slab *slab, int rail)
{
	struct rdm_slab_set *set = slab->set;
	int error;

	/* Paging, KSM or a fork may have undone an earlier write. */
	rdm_prepare_dirty(slab->base, slab->length);
	error = rdm_rail_register(&set->rails[rail], slab->base, slab->length, &slab->mr[rail]);
	if (error)
		return error;
	set->registrations++;
	atomic_fetch_or_explicit(&slab->keyed, 1U << rail, memory_order_release);
	return 0;
}

static int deregister_slab(struct rdm_slab *slab, int rail)
{
	struct rdm_slab_set *set = slab->set;
	int error;

	if (!(atomic_load(&slab->keyed) & (1U << rail)))
		return 0;
	/* From here on nobody may get the key. */
	atomic_fetch_and(&slab->keyed, ~(1U << rail));
	error = rdm_rail_deregister(&set->rails[rail], slab->base, slab->length, &slab->mr[rail]);
	if (error)
		atomic_fetch_or(&slab->keyed, 1U << rail);
	else
		set->deregistrations++;
	return error;
}

/* Makes the index cover a granule. 0 or an errno value. */
static int cover(struct rdm_slab_set *set, size_t granule)
{
	struct rdm_slab_index wider;
	int error;

	if (granule < set->index.granules)
		return 0;
	error = rdm_slab_index_make(&wider, granule);
	if (error) {
		rdm_log(RDM_LOG_ERROR, "no memory for the index of a pool's slabs");
		return error;
	}
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
	pthread_mutex_unlock(&set->lock);
}

/* The slab is on no list. 0, or errno: then it is on the list, quarantined. */
static int release(struct rdm_slab *slab)
{
	struct rdm_slab_set *set = slab->set;
	int error = 0;

	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		int failed = deregister_slab(slab, i);

		if (failed)
			error = failed;
	}
	if (!error) {
		rdm_keymap_assign(slab->base, slab->length, NULL);
		error = rdm_reserve_give(slab->base, slab->length);
		if (!error) {
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
	slab->pool = set->pool;
	slab->length = length;
	slab->pages = slab->free_pages = pages;
	return slab;
}

static int register_with_all(struct rdm_slab *slab)
{
	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		const struct rdm_rail *rail = &slab->set->rails[i];
		int error = rail->used && !rail->closing ? register_slab(slab, i) : 0;

		if (error)
			return error;
	}
	return 0;
}

bool rdm_slabs_have_room(size_t length, size_t align)
{
	return rdm_reserve_has_room(length, align);
}

int rdm_slabs_add(struct rdm_slab_set *set, size_t length, size_t align)
{
	struct rdm_slab *slab = new_slab(set, length);
	int error;

	if (!slab)
		return ENOMEM;
	slab->base = rdm_reserve_take(length, align);
	if (!slab->base) {
		rdm_log(RDM_LOG_ERROR,
			"the reserve of %zu MiB has no room for %zu MiB: set RDMALLOC_CONF=reserve:SIZE",
			rdm_reserve_size() >> 20, length >> 20);
		rdm_meta_free(slab);
		return ENOMEM;
	}
	error = cover(set, rdm_slab_granule(slab));
	if (error) {
		rdm_reserve_give(slab->base, length);
		rdm_meta_free(slab);
		return error;
	}
	error = rdm_state_cover(slab->base + length);
	if (!error)
		error = rdm_emap_cover(slab->base, length);
	if (!error)
		error = rdm_prepare(slab->base, length, &set->kind);
	if (error == EADDRINUSE) {
		/* Somebody else's memory is there now: leave it alone for ever. */
		rdm_reserve_keep(slab->base, length, true);
		rdm_meta_free(slab);
		return ENOMEM;
	}
	if (!error)
		error = register_with_all(slab);
	if (error) {
		release(slab);
		return error;
	}
	rdm_keymap_assign(slab->base, length, slab);
	set->bytes += length;
	set->growths++;
	insert(set, slab);
	return 0;
}

static void unlink_slab(struct rdm_slab *slab)
{
	struct rdm_slab_set *set = slab->set;
	size_t granule = rdm_slab_granule(slab);

	TAILQ_REMOVE(&set->slabs, slab, link);
	rdm_bits_clear(set->index.slabs, granule);
	rdm_bits_clear(set->index.idle, granule);
	rdm_slab_index_offer(&set->index, granule, 0);
	if (slab->quarantined)
		set->quarantined -= slab->length;
	else
		set->bytes -= slab->length;
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

int rdm_slabs_attach(struct rdm_slab_set *set, int rail)
{
	struct rdm_slab *slab;
	size_t max = set->rails[rail].registrar.max_len;
	int error = 0;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (slab->quarantined)
			continue;
		if (max && slab->length > max) {
			rdm_log(RDM_LOG_ERROR,
				"%s registers at most %zu bytes, the pool has a slab of %zu: "
				"make the pool with a smaller slab_size",
				set->rails[rail].registrar.name, max, slab->length);
			error = EFBIG;
		} else {
			error = register_slab(slab, rail);
		}
		if (error)
			break;
	}
	return error;
}

int rdm_slabs_detach(struct rdm_slab_set *set, int rail)
{
	struct rdm_slab *slab;
	int error = 0;

	set->rails[rail].closing = true;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		int failed = deregister_slab(slab, rail);

		if (failed)
			error = failed;
		/* ibv_dereg_mr() may have called madvise(MADV_DOFORK). */
		else if (!slab->inherited)
			rdm_prepare_protect(slab->base, slab->length);
	}
	return error;
}

void rdm_slabs_close_rails(struct rdm_slab_set *set, bool inherited)
{
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		if (set->rails[i].used)
			rdm_rail_close(&set->rails[i], inherited);
}

int rdm_slabs_adopt(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		int error;

		if (!slab->inherited)
			continue;
		error = rdm_prepare_again(slab->base, slab->length, &set->kind);
		if (error)
			return error;
		rdm_reserve_keep(slab->base, slab->length, false);
		slab->inherited = false;
	}
	return 0;
}
