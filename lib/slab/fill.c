/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/fill.h"

#include "base/contract.h"
#include "base/log.h"
#include "slab/registration.h"
#include "sync/lock.h"
#include "sync/quiesce.h"
#include "sync/workers.h"

/* Less is done before threads have started. */
#define WORTH_THREADS ((size_t)64 << 20)
/* What makes one more thread worth it. */
#define THREAD_BYTES ((size_t)16 << 20)
/* The most that a thread populates before it looks what else there is to do. */
#define PIECE ((size_t)16 << 20)

struct fill {
	struct rdm_slab_set *set;
	struct rdm_slab *const *slab;
	size_t count;
	size_t length; /* of each slab */
	size_t piece;
	size_t pieces;                 /* in a slab */
	bool write;                    /* there is no rail whose registration would */
	unsigned rails[RDM_RAILS_MAX]; /* a bit for each rail that one thread serves */
	unsigned groups;               /* of rails */
	_Atomic unsigned next_group;
	_Atomic size_t next_piece;
	_Atomic size_t missing[RDM_BATCH_MAX]; /* pieces of each slab */
	_Atomic int error;                     /* of the first failure: then all stop */
	struct rdm_lock lock;
	struct rdm_condition changed; /* something is no longer missing, or error is set */
};

static void announce(struct fill *fill)
{
	rdm_lock_take(&fill->lock);
	rdm_lock_announce(&fill->changed);
	rdm_lock_release(&fill->lock);
}

/* Whether it is the first one. */
static bool fail(struct fill *fill, int error)
{
	int none = 0;
	bool first = atomic_compare_exchange_strong(&fill->error, &none, error);

	announce(fill);
	return first;
}

/* Populates the next piece. False when there is none. */
static bool populate(struct fill *fill)
{
	size_t piece = atomic_fetch_add(&fill->next_piece, 1);
	size_t i = piece / fill->pieces, offset = piece % fill->pieces * fill->piece;
	size_t length = fill->piece;
	int error;

	rdm_assert(fill->pieces && fill->piece);
	if (i >= fill->count || fill->error)
		return false;
	if (length > fill->length - offset)
		length = fill->length - offset;
	error = rdm_prepare_populate(fill->slab[i]->base + offset, length, fill->write);
	if (error) {
		if (fail(fill, error))
			rdm_prepare_no_memory(fill->length);
		return false;
	}
	if (atomic_fetch_sub(&fill->missing[i], 1) == 1)
		announce(fill);
	return true;
}

/* Until a slab is populated, makes itself useful. False when something has failed. */
static bool await(struct fill *fill, size_t i)
{
	rdm_assert(i < fill->count);
	while (fill->missing[i] && populate(fill))
		;
	rdm_lock_take(&fill->lock);
	while (fill->missing[i] && !fill->error)
		rdm_lock_wait(&fill->lock, &fill->changed);
	rdm_lock_release(&fill->lock);
	return !fill->error;
}

static void register_group(struct fill *fill, unsigned rails)
{
	rdm_assert(rails);
	for (size_t i = 0; i < fill->count && await(fill, i); i++) {
		/* KSM could undo the write of the registration, too. */
		rdm_prepare_unmerge_new(fill->slab[i]->base, fill->length);
		for (int rail = 0; rail < RDM_RAILS_MAX; rail++) {
			int error =
				rails & (1U << rail) ? rdm_slab_register(fill->slab[i], rail) : 0;

			if (error) {
				fail(fill, error);
				return;
			}
		}
	}
}

static void work(void *context)
{
	struct fill *fill = context;
	unsigned group;

	while ((group = atomic_fetch_add(&fill->next_group, 1)) < fill->groups)
		register_group(fill, fill->rails[group]);
	while (populate(fill))
		;
}

/* Rails with the same context are one to the registrar, and so to us. */
static void group_rails(struct fill *fill)
{
	const struct rdm_rail *rails = fill->set->rails;
	unsigned open = rdm_slabs_open_rails(fill->set);

	rdm_assert(!fill->groups);
	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		unsigned group = 0;

		for (int j = i; j < RDM_RAILS_MAX; j++)
			if (open & (1U << j) && (j == i || rails[j].context == rails[i].context))
				group |= 1U << j;
		if (!(open & (1U << i)))
			continue;
		fill->rails[fill->groups++] = group;
		open &= ~group;
	}
	fill->write = !fill->groups;
}

static unsigned threads_for(const struct fill *fill)
{
	size_t bytes = fill->count * fill->length;
	size_t threads = bytes / THREAD_BYTES;
	unsigned cpus;

	rdm_assert(fill->count);
	if (bytes < WORTH_THREADS)
		return 1;
	cpus = rdm_workers_cpus();
	if (threads > cpus)
		threads = cpus;
	return threads > fill->groups ? (unsigned)threads : fill->groups;
}

static void divide(struct fill *fill)
{
	size_t page = rdm_prepare_page_size(&fill->set->kind);

	rdm_assert(fill->count);
	fill->length = fill->slab[0]->length;
	fill->piece = fill->length < PIECE ? fill->length : PIECE > page ? PIECE : page;
	fill->pieces = (fill->length + fill->piece - 1) / fill->piece;
	for (size_t i = 0; i < fill->count; i++)
		fill->missing[i] = fill->pieces;
}

int rdm_fill(struct rdm_slab_set *set, struct rdm_slab *const slab[], size_t count,
	     size_t *complete)
{
	struct fill fill = { .set = set, .slab = slab, .count = count, .next_group = 1 };
	unsigned open = rdm_slabs_open_rails(set);
	struct rdm_workers workers;
	unsigned threads;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(count && count <= RDM_BATCH_MAX);
	rdm_assert(slab[0]->length && complete);
	rdm_lock_init(&fill.lock, RDM_RANK_FILL);
	divide(&fill);
	group_rails(&fill);
	threads = threads_for(&fill);
	if (threads > 1)
		rdm_workers_start(&workers, threads - 1, work, &fill);
	/* Where there is one rail its registrar sees no thread but the caller's. */
	if (fill.groups)
		register_group(&fill, fill.rails[0]);
	work(&fill);
	if (threads > 1)
		rdm_workers_join(&workers);
	rdm_lock_destroy(&fill.lock);
	for (*complete = 0; *complete < count; ++*complete)
		if (fill.missing[*complete] || atomic_load(&slab[*complete]->keyed) != open)
			break;
	return fill.error;
}
