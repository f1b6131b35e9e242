/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What idle threads keep comes back: by a trim from another thread, also while
 * others work at full speed, and for an allocation at the pool's limit.
 */
#include "stress.h"

#include <errno.h>
#include <string.h>

enum { IDLERS = 3, BLOCKS = 100, ROUNDS = 40, OFTEN = 50 };

/* A thread that fills its magazines whenever it is asked, and sleeps meanwhile. */
struct idler {
	pthread_t thread;
	rdm_pool *pool;
	const size_t *sizes; /* up to a 0 */
	unsigned blocks;     /* of each size */
	struct t_event wake, done;
	_Atomic(bool) end;
	void *last; /* block that it has freed */
};

static void fill(struct idler *idler)
{
	void *block[BLOCKS];

	for (const size_t *size = idler->sizes; *size; size++) {
		/* What a thread needs often it keeps. */
		for (unsigned i = 0; i < OFTEN; i++)
			rdm_free(t_malloc(idler->pool, *size));
		for (unsigned i = 0; i < idler->blocks; i++) {
			block[i] = t_malloc(idler->pool, *size);
			memset(block[i], 3, *size);
		}
		for (unsigned i = 0; i < idler->blocks; i++)
			rdm_free(block[i]);
		idler->last = block[0];
	}
}

static void *idle(void *arg)
{
	struct idler *idler = arg;

	for (;;) {
		t_event_wait(&idler->wake);
		if (idler->end)
			return NULL;
		fill(idler);
		t_event_set(&idler->done);
	}
}

static void start(struct idler *idler, rdm_pool *pool, const size_t *sizes, unsigned blocks)
{
	*idler = (struct idler){ .pool = pool, .sizes = sizes, .blocks = blocks };
	t_event_init(&idler->wake);
	t_event_init(&idler->done);
	T_CHECK(!pthread_create(&idler->thread, NULL, idle, idler));
}

static void ask(struct idler *idler)
{
	t_event_set(&idler->wake);
	t_event_wait(&idler->done);
}

static void end(struct idler *idler)
{
	idler->end = true;
	t_event_set(&idler->wake);
	T_CHECK(!pthread_join(idler->thread, NULL));
	t_event_destroy(&idler->wake);
	t_event_destroy(&idler->done);
}

static void expect_nothing(rdm_pool *pool)
{
	struct rdm_stats stats;

	T_CHECK(!rdm_pool_trim(pool, 0));
	stats = t_stats(pool);
	T_CHECKF(!stats.magazine_bytes && !stats.depot_bytes && !stats.slab_bytes,
		 "after a trim: %zu bytes in magazines, %zu in the depot, %zu of slabs",
		 stats.magazine_bytes, stats.depot_bytes, stats.slab_bytes);
}

static void from_sleeping_threads(void)
{
	static const size_t sizes[] = { 64, 1000, 4096, 5000, 65536, T_MIB, 0 };
	rdm_pool *pool = t_pool("asleep", 0, 0, T_SLAB, 0);
	struct idler idlers[IDLERS];

	for (unsigned i = 0; i < IDLERS; i++)
		start(&idlers[i], pool, sizes, BLOCKS);
	for (unsigned round = 0; round < 3; round++) {
		struct rdm_stats stats;

		for (unsigned i = 0; i < IDLERS; i++)
			ask(&idlers[i]);
		stats = t_stats(pool);
		T_CHECKF(stats.magazine_bytes >= IDLERS * T_MIB && stats.slab_bytes,
			 "%zu bytes in magazines", stats.magazine_bytes);
		expect_nothing(pool);
	}
	for (unsigned i = 0; i < IDLERS; i++)
		end(&idlers[i]);
	T_CHECK(!rdm_pool_destroy(pool));
}

/* An idle thread frees a slab's worth: whether a trim by this thread returns that slab. */
static bool returns_slab(struct idler *idler, struct t_recorder *recorder)
{
	const struct t_region *region;
	uint32_t key;

	ask(idler);
	region = t_recorder_find(recorder, idler->last, T_SLAB);
	if (!region)
		return true;
	key = region->key;
	T_CHECK(!rdm_pool_trim(idler->pool, 0));
	return !region->live || region->key != key;
}

static void from_sleeping_threads_while_others_work(void)
{
	static const size_t sizes[] = { T_SLAB, 0 };
	struct stress stress = {
		.workers = 4,
		.lives = 5,
		.operations = t_quick() || T_SANITIZED ? 5000 : 100000,
		.seed = t_seed(),
	};
	struct t_recorder *recorders[STRESS_POOLS];
	struct idler idlers[STRESS_POOLS];
	unsigned trims = 0, returned = 0;

	for (unsigned i = 0; i < STRESS_POOLS; i++) {
		stress.pool[i] = t_pool("busy", 0, 0, T_SLAB, 0);
		recorders[i] = t_recorder_new("busy");
		t_recorder_add(recorders[i], stress.pool[i]);
		start(&idlers[i], stress.pool[i], sizes, 1);
	}
	stress_start(&stress);
	for (; !stress_done() || trims < 2; trims++) {
		unsigned i = trims % STRESS_POOLS;

		returned += returns_slab(&idlers[i], recorders[i]);
		T_CHECK(t_stats(stress.pool[i]).slab_bytes <= 1024 * T_MIB);
	}
	/* A worker may have got hold of a piece of a slab before it was returned. */
	T_CHECKF(returned > trims / 2, "of %u slabs that idle threads had %u were returned", trims,
		 returned);
	for (unsigned i = 0; i < STRESS_POOLS; i++) {
		expect_nothing(stress.pool[i]);
		T_CHECK(!recorders[i]->live);
	}
	stress_end();
	for (unsigned i = 0; i < STRESS_POOLS; i++) {
		end(&idlers[i]);
		T_CHECK(!rdm_pool_destroy(stress.pool[i]));
		t_recorder_free(recorders[i]);
	}
	t_say("%u trims, %u slabs of idle threads returned", trims, returned);
}

/* All that a pool may have is in the magazines of a thread that sleeps, and in the depot. */
static void at_the_limit(size_t freed, size_t wanted)
{
	const size_t sizes[] = { freed, 0 };
	size_t limit = 8 * T_MIB, count = limit / freed;
	rdm_pool *pool = t_pool("limit", 0, 0, T_SLAB, limit);
	struct idler idler;
	void *block;

	start(&idler, pool, sizes, (unsigned)(count < BLOCKS ? count : BLOCKS));
	T_CHECK(!rdm_pool_reserve(pool, limit));
	ask(&idler);
	T_CHECK(t_stats(pool).magazine_bytes && t_stats(pool).slab_bytes == limit);
	block = rdm_malloc(pool, wanted);
	T_CHECKF(block, "no %zu bytes where %zu of %zu are kept in pieces of %zu", wanted,
		 t_stats(pool).magazine_bytes + t_stats(pool).depot_bytes, limit, freed);
	memset(block, 1, wanted);
	rdm_free(block);
	end(&idler);
	expect_nothing(pool);
	T_CHECK(!rdm_pool_destroy(pool));
}

/* The pool is full, but for single blocks of one class that a sleeping thread keeps. */
enum { MOST = 4 * T_SLAB / 64 };

struct scattered {
	rdm_pool *pool;
	size_t size;
	size_t count, freed;
	void **block;
	struct t_event ready, go_on;
};

static void *keep_scattered(void *arg)
{
	struct scattered *scattered = arg;
	void *block;

	while ((block = rdm_malloc(scattered->pool, scattered->size)))
		scattered->block[scattered->count++] = block;
	/* No two next to each other, so that no page becomes free. */
	for (size_t i = 0; i < 100 && i * 3 < scattered->count; i++) {
		rdm_free(scattered->block[i * 3]);
		scattered->block[i * 3] = NULL;
		scattered->freed++;
	}
	t_event_set(&scattered->ready);
	t_event_wait(&scattered->go_on);
	return NULL;
}

static void of_the_same_class(size_t size)
{
	static void *block[MOST], *again[100];
	struct scattered scattered = { .size = size, .block = block };
	pthread_t thread;

	scattered.pool = t_pool("scattered", 0, 0, T_SLAB, 2 * T_SLAB);
	t_event_init(&scattered.ready);
	t_event_init(&scattered.go_on);
	T_CHECK(!pthread_create(&thread, NULL, keep_scattered, &scattered));
	t_event_wait(&scattered.ready);
	for (size_t i = 0; i < scattered.freed; i++) {
		again[i] = rdm_malloc(scattered.pool, size);
		T_CHECKF(again[i],
			 "%zu of the %zu blocks of %zu bytes that a sleeping thread keeps", i,
			 scattered.freed, size);
	}
	T_FAILS(!rdm_malloc(scattered.pool, size), ENOMEM);
	for (size_t i = 0; i < scattered.freed; i++)
		rdm_free(again[i]);
	for (size_t i = 0; i < scattered.count; i++)
		rdm_free(block[i]);
	expect_nothing(scattered.pool);
	t_event_set(&scattered.go_on);
	T_CHECK(!pthread_join(thread, NULL));
	T_CHECK(!rdm_pool_destroy(scattered.pool));
	t_event_destroy(&scattered.ready);
	t_event_destroy(&scattered.go_on);
}

/* A thread goes from pool to pool; the one that it has left is destroyed at once. */
struct wanderer {
	_Atomic(rdm_pool *) pool;
	struct t_event go, left;
};

static void *wander(void *arg)
{
	struct wanderer *wanderer = arg;
	rdm_pool *stays = t_pool("stays", 0, 0, T_SLAB, 0), *pool;

	for (;;) {
		t_event_wait(&wanderer->go);
		pool = wanderer->pool;
		if (!pool)
			break;
		for (unsigned i = 0; i < BLOCKS; i++)
			rdm_free(t_malloc(pool, 64 * i));
		t_event_set(&wanderer->left);
		for (unsigned i = 0; i < BLOCKS; i++)
			rdm_free(t_malloc(stays, 64 * i));
	}
	T_CHECK(!rdm_pool_destroy(stays));
	return NULL;
}

static void from_pools_that_go(void)
{
	struct wanderer wanderer = { .pool = NULL };
	pthread_t thread;

	t_event_init(&wanderer.go);
	t_event_init(&wanderer.left);
	T_CHECK(!pthread_create(&thread, NULL, wander, &wanderer));
	for (unsigned i = 0; i < (t_quick() || T_SANITIZED ? 100 : 1000); i++) {
		wanderer.pool = t_pool("goes", 0, 0, T_SLAB, 0);
		t_event_set(&wanderer.go);
		t_event_wait(&wanderer.left);
		T_CHECK(!rdm_pool_destroy(wanderer.pool));
	}
	wanderer.pool = NULL;
	t_event_set(&wanderer.go);
	T_CHECK(!pthread_join(thread, NULL));
	t_event_destroy(&wanderer.go);
	t_event_destroy(&wanderer.left);
}

int main(void)
{
	from_sleeping_threads();
	from_sleeping_threads_while_others_work();
	at_the_limit(T_SLAB, T_SLAB);
	at_the_limit(T_MIB, 8 * T_MIB);
	at_the_limit(65536, 3 * T_MIB);
	at_the_limit(64, 8 * T_MIB);
	of_the_same_class(4096);
	of_the_same_class(64);
	of_the_same_class(192);
	from_pools_that_go();
	return T_PASS;
}
