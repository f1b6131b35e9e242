/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With a watermark a thread that allocates steadily registers the first slab and
 * no other; the limit holds; memory that was returned stays so until it is missed.
 */
#include "watch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { BLOCKS = 500 };

static const size_t watermark = 4 * T_SLAB;
static void *block[BLOCKS];

static void free_blocks(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		rdm_free(block[i]);
		block[i] = NULL;
	}
}

static void end(struct watch *watch, rdm_pool *pool)
{
	free_blocks();
	assert_int_equal(rdm_pool_destroy(pool), 0);
	assert_int_equal(watch->recorder->live, 0);
	watch_free(watch);
}

/* Allocates n blocks and gives the background thread its time in between. */
static void allocate(rdm_pool *pool, unsigned n, size_t size)
{
	for (unsigned i = 0; i < n; i++) {
		watch_settle(pool);
		block[i] = t_malloc(pool, size);
	}
	watch_settle(pool);
}

static void steadily(unsigned n, size_t size, size_t own)
{
	struct watch *watch = watch_new("steady");
	rdm_pool *pool = watch_pool(watch, watermark, 0);
	struct rdm_stats stats;

	allocate(pool, n, size);
	stats = t_stats(pool);
	t_say("%u blocks of %zu: %zu slabs, %zu made by the thread that allocates", n, size,
	      stats.slabs, watch->own);
	assert_true(watch->own <= own);
	assert_true(stats.slab_bytes - stats.carved_bytes >= watermark);
	assert_true(stats.slab_bytes - stats.live_bytes <= 2 * watermark + n * T_MIB);
	assert_int_equal(stats.growths, watch->own + watch->others);
	assert_int_equal(stats.background_growths, watch->others);
	assert_int_equal(t_audit(pool), 0);
	end(watch, pool);
}

static void small_blocks(void **state)
{
	(void)state;
	steadily(BLOCKS, 64 << 10, 1);
}

static void large_blocks(void **state)
{
	(void)state;
	steadily(60, T_MIB, 1);
}

/* Each leaves a quarter of a slab, which is too short for the next. */
static void blocks_that_leave_rests(void **state)
{
	(void)state;
	steadily(60, 3 * T_MIB / 2, 2);
}

static void without_a_watermark_nobody_helps(void **state)
{
	struct watch *watch = watch_new("plain");
	rdm_pool *pool = watch_pool(watch, 0, 0);

	(void)state;
	allocate(pool, 60, T_MIB);
	assert_int_equal(watch->others, 0);
	assert_int_equal(t_stats(pool).background_growths, 0);
	end(watch, pool);
}

static void one_thread_serves_all_pools(void **state)
{
	struct watch *watch[3];
	rdm_pool *pool[3];
	void *kept[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		watch[i] = watch_new("one of three");
		pool[i] = watch_pool(watch[i], watermark, 0);
		kept[i] = t_malloc(pool[i], 1);
	}
	for (unsigned i = 0; i < 3; i++) {
		watch_settle(pool[i]);
		assert_true(watch[i]->others >= watermark / T_SLAB);
		assert_true(pthread_equal(watch[i]->other, watch[0]->other));
	}
	for (unsigned i = 0; i < 3; i++) {
		rdm_free(kept[i]);
		end(watch[i], pool[i]);
	}
}

static int reach_limit(void *arg)
{
	const size_t limit = 8 * T_SLAB;
	struct watch *watch = watch_new("limited");
	rdm_pool *pool = watch_pool(watch, watermark, limit);
	size_t refused = watch_refused;
	unsigned n = 0;

	(void)arg;
	while ((block[n] = rdm_malloc(pool, T_MIB / 2))) {
		n++;
		watch_settle(pool);
		T_CHECK(t_stats(pool).slab_bytes <= limit);
	}
	T_CHECK(errno == ENOMEM && n == limit / (T_MIB / 2));
	T_CHECKF(watch->own == 1, "%zu slabs made by the thread that allocates", watch->own);
	/* That the limit forbids more was found out once. */
	T_CHECKF(watch_refused - refused == 1, "%zu refusals", watch_refused - refused);
	free_blocks();
	T_CHECK(!rdm_pool_destroy(pool));
	watch_free(watch);
	return T_PASS;
}

static void limit_holds(void **state)
{
	struct t_caught caught;

	(void)state;
	t_catch(&caught, reach_limit, NULL);
	/* The one line is of the allocation that fails. */
	t_caught_line(&caught, "limited", "limit");
	assert_int_equal(t_lines(caught.err), 1);
}

/* Slabs that nobody has needed yet must not keep others from being made. */
static void slabs_ahead_give_way(void **state)
{
	struct watch *watch = watch_new("giving way");
	rdm_pool *pool = watch_pool(watch, watermark, 8 * T_SLAB);

	(void)state;
	allocate(pool, 1, T_MIB);
	assert_true(t_stats(pool).slab_bytes > watermark);
	block[1] = t_malloc(pool, 6 * T_SLAB);
	watch_settle(pool);
	assert_int_equal(t_stats(pool).slab_bytes, 8 * T_SLAB);
	end(watch, pool);
}

static void trimmed_memory_stays_away(void **state)
{
	struct watch *watch = watch_new("trimmed");
	rdm_pool *pool = watch_pool(watch, watermark, 0);
	size_t made, slabs;

	(void)state;
	allocate(pool, 20, T_MIB / 2);
	slabs = t_stats(pool).slabs;
	made = watch_made;
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	watch_settle(pool);
	assert_int_equal(watch_made, made);
	assert_true(t_stats(pool).slabs < slabs);
	assert_true(t_stats(pool).slab_bytes - t_stats(pool).carved_bytes < watermark);
	/* Until a slab is carved again. */
	block[20] = t_malloc(pool, T_MIB / 2);
	block[21] = t_malloc(pool, T_MIB / 2);
	watch_settle(pool);
	assert_true(watch_made > made);
	assert_true(t_stats(pool).slab_bytes - t_stats(pool).carved_bytes >= watermark);
	end(watch, pool);
}

/* Bytes of slabs after blocks of many sizes have come and gone. */
static size_t come_and_go(size_t bytes)
{
	struct watch *watch = watch_new("come and go");
	rdm_pool *pool = watch_pool(watch, bytes, 0);
	size_t slab_bytes;

	for (size_t size = 40 << 10; size < T_MIB; size += size / 3) {
		allocate(pool, (unsigned)(16 * T_MIB / size), size);
		free_blocks();
		/* Where only an allocation of that size would find them. */
		rdm_thread_flush();
	}
	slab_bytes = t_stats(pool).slab_bytes;
	end(watch, pool);
	return slab_bytes;
}

static void freed_memory_comes_first(void **state)
{
	size_t without = come_and_go(0), with = come_and_go(watermark);

	(void)state;
	t_say("%zu MiB of slabs without a watermark, %zu with one of %zu", without / T_MIB,
	      with / T_MIB, watermark / T_MIB);
	assert_true(with <= without + watermark + T_SLAB);
}

/* The library as this environment makes it. */
static int subject(void)
{
	rdm_pool *pool = rdm_pool_create(NULL);

	watch_free(watch_new("subject"));
	allocate(pool, 2, T_MIB);
	T_CHECK(t_stats(pool).background_growths == 2 && t_stats(pool).growths == 3);
	return T_PASS;
}

static int run_subject(void *arg)
{
	(void)arg;
	setenv("RDMALLOC_CONF", "slab_size:2M,watermark:4M", 1);
	execl("/proc/self/exe", "steady", "subject", (char *)NULL);
	return T_FAIL;
}

static void environment_sets_the_default(void **state)
{
	(void)state;
	t_fork_passes(run_subject, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_blocks),
		cmocka_unit_test(large_blocks),
		cmocka_unit_test(blocks_that_leave_rests),
		cmocka_unit_test(without_a_watermark_nobody_helps),
		cmocka_unit_test(one_thread_serves_all_pools),
		cmocka_unit_test(limit_holds),
		cmocka_unit_test(slabs_ahead_give_way),
		cmocka_unit_test(trimmed_memory_stays_away),
		cmocka_unit_test(freed_memory_comes_first),
		cmocka_unit_test(environment_sets_the_default),
	};

	(void)argv;
	if (argc > 1)
		return subject();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
