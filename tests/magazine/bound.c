/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever a thread does, of a pool it never keeps more free bytes than
 * RDMALLOC_CONF=magazine says; and nothing once it has ended, also if its own
 * destructors go on allocating and freeing after the library's.
 */
#include "support.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POOLS = 3, SLOTS = 512, BURST = 600 };

static const struct budget {
	const char *conf;
	size_t bytes;
} budgets[] = {
	{ "log:warn", 4 * T_MIB },      { "magazine:64K", 64 << 10 }, { "magazine:1M", T_MIB },
	{ "magazine:20000", 20000 },    { "magazine:64", 64 },        { "magazine:63", 63 },
	{ "magazine:64M", 64 * T_MIB }, { "magazine:0", 0 },
};
static const struct budget *budget;

static rdm_pool *pools[POOLS];
static struct t_recorder *recorders[POOLS];
static _Atomic(size_t) most_kept;

static void expect_bound(rdm_pool *pool)
{
	struct rdm_stats stats = t_stats(pool);

	T_CHECKF(stats.magazine_bytes <= budget->bytes, "%s: a thread keeps %zu bytes",
		 budget->conf, stats.magazine_bytes);
	T_CHECKF(budget->bytes || !stats.depot_bytes, "without magazines the depot has %zu bytes",
		 stats.depot_bytes);
	/* Of two threads that find more at once, either may win. */
	if (stats.magazine_bytes > most_kept)
		most_kept = stats.magazine_bytes;
}

/* Nothing that trim could not return. */
static void expect_nothing_kept(rdm_pool *pool)
{
	struct rdm_stats stats = t_stats(pool);

	T_CHECKF(!stats.magazine_bytes, "%s: %zu bytes are kept for threads that are gone",
		 budget->conf, stats.magazine_bytes);
	T_CHECK(!stats.live_blocks);
	T_CHECK(!rdm_pool_trim(pool, 0));
	stats = t_stats(pool);
	T_CHECKF(!stats.slab_bytes && !stats.depot_bytes, "%s: %zu bytes of slabs are stranded",
		 budget->conf, stats.slab_bytes);
}

struct slots {
	void *block[SLOTS];
	size_t bytes;
};

static void drop(struct slots *slots, unsigned i)
{
	if (!slots->block[i])
		return;
	slots->bytes -= rdm_usable_size(slots->block[i]);
	rdm_free(slots->block[i]);
	slots->block[i] = NULL;
}

static size_t random_size(struct t_rng *rng, const struct slots *slots)
{
	bool small = slots->bytes > 64 * T_MIB || t_below(rng, 8);

	return t_log_uniform(rng, 1, small ? 32768 : 8 * T_MIB);
}

static void step(struct t_rng *rng, struct slots *slots)
{
	unsigned i = (unsigned)t_below(rng, SLOTS);
	rdm_pool *pool = pools[t_below(rng, POOLS)];
	size_t size = random_size(rng, slots);

	if (slots->block[i] && t_below(rng, 4)) {
		drop(slots, i);
		return;
	}
	if (slots->block[i]) {
		slots->bytes -= rdm_usable_size(slots->block[i]);
		slots->block[i] = rdm_realloc(NULL, slots->block[i], size);
	} else if (t_below(rng, 4)) {
		slots->block[i] = rdm_malloc(pool, size);
	} else {
		slots->block[i] = rdm_aligned_alloc(pool, (size_t)1 << t_below(rng, 14), size);
	}
	T_CHECKF(slots->block[i], "no block of %zu: %s", size, strerror(errno));
	slots->bytes += rdm_usable_size(slots->block[i]);
}

/* Many blocks of one size, freed at once. */
static void burst(struct t_rng *rng, rdm_pool *pool)
{
	size_t size = t_log_uniform(rng, 1, t_below(rng, 4) ? 4096 : 4 * T_MIB);
	unsigned count = size > 65536 ? 1 + (unsigned)(32 * T_MIB / size) : BURST;
	void *block[BURST];

	for (unsigned i = 0; i < count; i++)
		block[i] = t_malloc(pool, size);
	for (unsigned i = 0; i < count; i++) {
		rdm_free(block[i]);
		if (i % 16 == 0)
			expect_bound(pool);
	}
}

static bool was_kept(void)
{
	/* Else the bound would say nothing. */
	return budget->bytes < 64 || most_kept >= budget->bytes / 2;
}

/* Rounds of need_often(): often is a hundred times a second, which others' work may prevent for long. */
enum { ROUNDS_LEAST = 20, ROUNDS_MOST = 20000 };

/* What is needed often, and is as much as may be kept, is kept. */
static void need_often(rdm_pool *pool)
{
	size_t size = budget->bytes / 200 > 64 ? budget->bytes / 200 : 64;
	void *block[200];

	for (unsigned n = 0; n < ROUNDS_LEAST || (n < ROUNDS_MOST && !was_kept()); n++) {
		for (unsigned i = 0; i < 200; i++)
			block[i] = t_malloc(pool, size);
		for (unsigned i = 0; i < 200; i++)
			rdm_free(block[i]);
		expect_bound(pool);
	}
}

static void *work(void *arg)
{
	unsigned steps = T_TSAN ? 2000 : t_quick() || T_SANITIZED ? 10000 : 100000;
	struct t_rng rng = { .state = *(uint64_t *)arg };
	struct slots slots = { .bytes = 0 };

	for (unsigned n = 0; n < steps; n++) {
		step(&rng, &slots);
		if (n % 50 == 0)
			expect_bound(pools[n % POOLS]);
		if (n % 500 == 0)
			burst(&rng, pools[n / 500 % POOLS]);
		if (n % 1000 == 999)
			rdm_thread_flush();
	}
	for (unsigned i = 0; i < SLOTS; i++)
		drop(&slots, i);
	/* Beside much other work it may be often enough in none of a few times. */
	for (unsigned n = 0; n == 0 || (n < 1000 && !was_kept()); n++)
		need_often(pools[0]);
	for (unsigned i = 0; i < POOLS; i++)
		expect_bound(pools[i]);
	return NULL;
}

/* Another thread looks on all the time. */
static void one_thread(uint64_t seed)
{
	pthread_t thread;

	T_CHECK(!pthread_create(&thread, NULL, work, &seed));
	for (unsigned i = 0; pthread_tryjoin_np(thread, NULL); i++)
		expect_bound(pools[i % POOLS]);
	for (unsigned i = 0; i < POOLS; i++)
		expect_nothing_kept(pools[i]);
	T_CHECKF(was_kept(), "%s: no more than %zu bytes were ever kept", budget->conf,
		 (size_t)most_kept);
}

/* A thread that allocates and frees in its destructors: its key is newer than ours. */
struct dying {
	bool before;     /* uses the pool before it dies, too */
	unsigned silent; /* rounds of destructors without a call */
	rdm_pool *pool;
	unsigned rounds;
	void *block[BURST];
};
static pthread_key_t key;

/* To TSan a thread is gone when the last round begins. */
enum { ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - T_TSAN };

static const size_t sizes[] = { 64, 1000, 8192, 100000, 2 * T_MIB };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void expect_block(rdm_pool *pool, void *block, size_t size)
{
	struct rdm_key rdm_key_of;

	T_CHECKF(rdm_pool_of(block) == pool, "%p is not the pool's", block);
	T_CHECKF(!rdm_key(block, 0, &rdm_key_of), "%p has no key: %s", block, strerror(errno));
	T_CHECK(t_recorder_find(recorders[0], block, size));
	memset(block, 5, size);
}

static void use(struct dying *dying)
{
	for (unsigned i = 0; i < BURST; i++) {
		size_t size = sizes[i % SIZES];

		if (size > 8192 && i >= 40)
			size = 64;
		/* Blocks of the thread's better days, and of earlier rounds. */
		rdm_free(dying->block[i]);
		dying->block[i] = t_malloc(dying->pool, size);
		expect_block(dying->pool, dying->block[i], size);
	}
}

static void drop_all(struct dying *dying)
{
	for (unsigned i = 0; i < BURST; i++) {
		rdm_free(dying->block[i]);
		dying->block[i] = NULL;
	}
}

static void destructor(void *arg)
{
	struct dying *dying = arg;

	if (++dying->rounds < ROUNDS)
		T_CHECK(!pthread_setspecific(key, dying));
	if (dying->rounds > dying->silent)
		use(dying);
	if (dying->rounds == ROUNDS)
		drop_all(dying);
}

static void *live_and_die(void *arg)
{
	struct dying *dying = arg;

	if (dying->before)
		use(dying);
	T_CHECK(!pthread_setspecific(key, dying));
	return NULL;
}

static void die(struct dying *dying)
{
	pthread_t thread;

	T_CHECK(!pthread_create(&thread, NULL, live_and_die, dying));
	T_CHECK(!pthread_join(thread, NULL));
	T_CHECK(dying->rounds == ROUNDS);
}

static void dying_threads(void)
{
	for (unsigned before = 0; before < 2; before++)
		for (unsigned silent = 0; silent < ROUNDS; silent++) {
			struct dying dying = { .before = before,
					       .silent = silent,
					       .pool = pools[0] };

			die(&dying);
			/* Who comes after the last call of our destructor may strand that much. */
			if (!before && silent == ROUNDS - 1) {
				expect_bound(pools[0]);
				T_CHECK(!rdm_pool_trim(pools[0], 0));
			}
			expect_nothing_kept(pools[0]);
		}
}

static void *come_and_go(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 100; i++)
		rdm_free(t_malloc(pools[i % POOLS], sizes[i % SIZES]));
	return NULL;
}

static void many_threads(void)
{
	unsigned most = T_TSAN ? 10 : t_quick() || T_SANITIZED ? 50 : 500;
	pthread_t thread;

	for (unsigned i = 0; i < most; i++) {
		T_CHECK(!pthread_create(&thread, NULL, come_and_go, NULL));
		T_CHECK(!pthread_join(thread, NULL));
	}
	for (unsigned i = 0; i < POOLS; i++)
		expect_nothing_kept(pools[i]);
}

static void subject(uint64_t seed)
{
	for (unsigned i = 0; i < POOLS; i++) {
		pools[i] = t_pool("bound", 0, 0, T_SLAB, 0);
		recorders[i] = t_recorder_new("bound");
		t_recorder_add(recorders[i], pools[i]);
	}
	T_CHECK(!pthread_key_create(&key, destructor));
	one_thread(seed);
	dying_threads();
	many_threads();
	for (unsigned i = 0; i < POOLS; i++) {
		T_CHECK(!rdm_pool_destroy(pools[i]) && !recorders[i]->live);
		t_recorder_free(recorders[i]);
	}
	t_say("%s: at most %zu bytes were kept", budget->conf, (size_t)most_kept);
}

static int with_budget(void *arg)
{
	const struct budget *one = arg;

	return t_again(one->conf, (size_t)(one - budgets));
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		budget = &budgets[atoi(argv[1])];
		subject(t_seed());
		return T_PASS;
	}
	for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++)
		t_fork_passes(with_budget, (void *)&budgets[i]);
	return T_PASS;
}
