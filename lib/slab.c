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

static void insert(struct rdm_slab_set *set, struct rdm_slab *slab)
{
	struct rdm_slab *other;

	pthread_mutex_lock(&set->lock);
	TAILQ_FOREACH_REVERSE (other, &set->slabs, rdm_slab_list, link)
		if (other->base < slab->base)
			break;
	if (other)
		TAILQ_INSERT_AFTER(&set->slabs, other, slab, link);
	else
		TAILQ_INSERT_HEAD(&set->slabs, slab, link);
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
		rdm_keymap_assign(slab->base, slab->length, slab);
	}
	slab->quarantined = true;
	set->quarantined += slab->length;
	insert(set, slab);
	return error;
}

static struct rdm_slab *new_slab(struct rdm_slab_set *set, size_t length)
{
	size_t pages = length >> rdm_state.page_shift;
	size_t words = (pages + RDM_BITS_WORD - 1) / RDM_BITS_WORD;
	struct rdm_slab *slab = rdm_meta_alloc(sizeof(*slab) + words * sizeof(slab->carved[0]));

	if (!slab) {
		rdm_log(RDM_LOG_ERROR, "no memory for the record of a slab of %zu MiB",
			length >> 20);
		return NULL;
	}
	slab->set = set;
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

	TAILQ_REMOVE(&set->slabs, slab, link);
	if (slab->quarantined)
		set->quarantined -= slab->length;
	else
		set->bytes -= slab->length;
	slab->quarantined = false;
}

static bool unlink_if_idle(struct rdm_slab *slab, size_t keep)
{
	struct rdm_slab_set *set = slab->set;
	bool idle;

	pthread_mutex_lock(&set->lock);
	idle = slab->quarantined ||
	       (slab->free_pages == slab->pages && set->bytes - slab->length >= keep);
	if (idle)
		unlink_slab(slab);
	pthread_mutex_unlock(&set->lock);
	return idle;
}

int rdm_slabs_trim(struct rdm_slab_set *set, size_t keep)
{
	struct rdm_slab *slab = TAILQ_LAST(&set->slabs, rdm_slab_list);
	int error = 0;

	while (slab) {
		struct rdm_slab *previous = TAILQ_PREV(slab, rdm_slab_list, link);

		if (unlink_if_idle(slab, keep)) {
			int failed = release(slab);

			if (failed)
				error = failed;
		}
		slab = previous;
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

static size_t pages_of(size_t size)
{
	return (size + ((size_t)1 << rdm_state.page_shift) - 1) >> rdm_state.page_shift;
}

static void mark_carved(struct rdm_slab *slab, size_t first, size_t run)
{
	rdm_bits_assign(slab->carved, first, run, true);
	slab->free_pages -= run;
	slab->set->carved_pages += run;
	if (first == slab->hint)
		slab->hint += run;
}

static size_t find_run(const struct rdm_slab *slab, size_t run, size_t align)
{
	size_t step = pages_of(align);
	size_t offset = ((uintptr_t)slab->base >> rdm_state.page_shift) & (step - 1);

	if (slab->quarantined || slab->free_pages < run)
		return RDM_BITS_NONE;
	return rdm_bits_find_clear(slab->carved, slab->pages, slab->hint, run, step, offset);
}

/* Where `at` continues a run of the set, whole in one slab. */
static void *carve_at(struct rdm_slab_set *set, char *at, size_t run)
{
	struct rdm_slab *slab = rdm_keymap_slab(at);
	size_t first;

	/* The run before it holds its slab; the next slab may be on its way out. */
	if (!slab || slab != rdm_keymap_slab(at - 1) || slab->set != set)
		return NULL;
	first = (size_t)(at - slab->base) >> rdm_state.page_shift;
	if (run > slab->pages - first ||
	    rdm_bits_next(slab->carved, first + run, first, true) < first + run)
		return NULL;
	mark_carved(slab, first, run);
	return at;
}

static char *carve_anywhere(struct rdm_slab_set *set, size_t run, size_t align)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		size_t first = find_run(slab, run, align);

		if (first != RDM_BITS_NONE) {
			mark_carved(slab, first, run);
			return slab->base + (first << rdm_state.page_shift);
		}
	}
	return NULL;
}

void *rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align)
{
	size_t run = pages_of(size);
	void *found;

	pthread_mutex_lock(&set->lock);
	found = at ? carve_at(set, at, run) : carve_anywhere(set, run, align);
	pthread_mutex_unlock(&set->lock);
	return found;
}

void rdm_slabs_uncarve(void *at, size_t size)
{
	struct rdm_slab *slab = rdm_keymap_slab(at);
	struct rdm_slab_set *set = slab->set;
	size_t first = (size_t)((char *)at - slab->base) >> rdm_state.page_shift;
	size_t run = pages_of(size);

	pthread_mutex_lock(&set->lock);
	rdm_bits_assign(slab->carved, first, run, false);
	slab->free_pages += run;
	set->carved_pages -= run;
	if (first < slab->hint)
		slab->hint = first;
	pthread_mutex_unlock(&set->lock);
}

void rdm_slabs_uncarve_all(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	pthread_mutex_lock(&set->lock);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		rdm_bits_assign(slab->carved, 0, slab->pages, false);
		slab->free_pages = slab->pages;
		slab->hint = 0;
	}
	set->carved_pages = 0;
	pthread_mutex_unlock(&set->lock);
}

bool rdm_slabs_can_carve(struct rdm_slab_set *set, size_t size, size_t align)
{
	struct rdm_slab *slab;
	size_t run = pages_of(size);
	bool found = false;

	pthread_mutex_lock(&set->lock);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		found = find_run(slab, run, align) != RDM_BITS_NONE;
		if (found)
			break;
	}
	pthread_mutex_unlock(&set->lock);
	return found;
}

void rdm_slabs_lock(struct rdm_slab_set *set)
{
	pthread_mutex_lock(&set->lock);
}

void rdm_slabs_unlock(struct rdm_slab_set *set)
{
	pthread_mutex_unlock(&set->lock);
}
