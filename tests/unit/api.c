/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks and pools as rdmalloc.h says, in ordinary use. */
#include "support.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static rdm_pool *pool;
static struct t_recorder *recorder;

static int set_up(void **state)
{
	(void)state;
	recorder = t_recorder_new("recorder");
	pool = t_pool("api", 0, 0, T_SLAB, 0);
	t_recorder_add(recorder, pool);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(rdm_pool_destroy(pool), 0);
	assert_int_equal(recorder->live, 0);
	t_recorder_free(recorder);
	return 0;
}

static void check_block(char *p, size_t size, size_t alignment)
{
	struct rdm_key head, tail;

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % alignment, 0);
	assert_true(rdm_usable_size(p) >= size);
	assert_ptr_equal(rdm_pool_of(p), pool);
	assert_int_equal(rdm_key(p, 0, &head), 0);
	assert_int_equal(rdm_key(p + rdm_usable_size(p) - 1, 0, &tail), 0);
	assert_int_equal(head.lkey, tail.lkey);
	assert_ptr_equal(head.handle, t_recorder_find(recorder, p, rdm_usable_size(p)));
	memset(p, 0xa5, rdm_usable_size(p));
}

static void every_size(void **state)
{
	size_t most = 80 * T_MIB;

	(void)state;
	for (size_t size = 1; size < most; size += size < 5000 ? 1 : size / 7) {
		char *p = rdm_malloc(pool, size);

		check_block(p, size, size < t_page() ? 64 : t_page());
		assert_true(rdm_usable_size(p) <= size + size / 4 + 64);
		if (size % 2)
			rdm_free(p);
		else
			rdm_free_sized(p, size);
	}
	assert_int_equal(t_stats(pool).live_blocks, 0);
}

static void every_alignment(void **state)
{
	char *block[64];
	unsigned n = 0;

	(void)state;
	for (size_t alignment = 1; alignment <= 16 * T_MIB; alignment *= 2) {
		size_t most = alignment < 64 ? 64 : alignment;

		block[n] = rdm_aligned_alloc(pool, alignment, 100);
		check_block(block[n++], 100, most);
		block[n] = rdm_aligned_alloc(pool, alignment, 3 * alignment + 1);
		check_block(block[n++], 3 * alignment + 1, most);
	}
	while (n--)
		rdm_free(block[n]);
}

static void calloc_is_zero_after_dirty_use(void **state)
{
	static const size_t sizes[] = { 1, 64, 1000, 5000, 100000, 3 * T_MIB };

	(void)state;
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			char *p[8];

			for (unsigned n = 0; n < 8; n++) {
				p[n] = rdm_calloc(pool, 1, sizes[i]);
				assert_non_null(p[n]);
				assert_true(t_is_byte(p[n], sizes[i], 0));
				memset(p[n], 0xff, rdm_usable_size(p[n]));
			}
			for (unsigned n = 0; n < 8; n++)
				rdm_free(p[n]);
		}
}

static void realloc_keeps_contents(void **state)
{
	struct t_rng rng = { .state = t_seed() };
	size_t size = 100;
	char *p = rdm_realloc(pool, NULL, size);

	(void)state;
	assert_non_null(p);
	for (unsigned i = 0; i < 3000; i++) {
		size_t next = t_log_uniform(&rng, 1, i % 100 ? 200000 : 9 * T_MIB);
		size_t kept = next < size ? next : size;

		t_pattern_fill(p, size, i);
		p = rdm_realloc(i % 2 ? pool : NULL, p, next);
		assert_non_null(p);
		assert_int_equal(t_pattern_check(p, kept, i), kept);
		check_block(p, next, next < t_page() ? 64 : t_page());
		size = next;
	}
	assert_int_equal(t_stats(pool).live_blocks, 1);
	rdm_free(p);
}

static void realloc_failure_keeps_the_block(void **state)
{
	rdm_pool *small = t_pool("small", 0, 0, T_SLAB, T_SLAB);
	char *p = t_malloc(small, 1000);

	(void)state;
	t_pattern_fill(p, 1000, 1);
	errno = 0;
	assert_null(rdm_realloc(small, p, 3 * T_SLAB));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(t_pattern_check(p, 1000, 1), 1000);
	rdm_free(p);
	assert_int_equal(rdm_pool_destroy(small), 0);
}

static void pointers_inside(void **state)
{
	static const size_t sizes[] = { 1, 100, 5000, 3 * T_SLAB + 5 };
	struct rdm_key key, inner;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = t_malloc(pool, sizes[i]);

		assert_int_equal(rdm_key(p, 0, &key), 0);
		for (size_t at = 0; at < sizes[i]; at += sizes[i] / 7 + 1) {
			assert_int_equal(rdm_key(p + at, 0, &inner), 0);
			assert_ptr_equal(inner.base, key.base);
			assert_int_equal(inner.lkey, key.lkey);
			assert_int_equal(inner.rkey, key.rkey);
			assert_ptr_equal(rdm_pool_of(p + at), pool);
		}
		rdm_free(p);
	}
}

static void rails_of_a_live_pool(void **state)
{
	struct t_recorder *more[3];
	char *p = t_malloc(pool, 5000), *q;
	struct rdm_key key[4];

	(void)state;
	t_pattern_fill(p, 5000, 4);
	for (int i = 0; i < 3; i++) {
		more[i] = t_recorder_new("more");
		assert_int_equal(t_recorder_add(more[i], pool), i + 1);
		assert_int_equal(more[i]->live, recorder->live);
	}
	q = t_malloc(pool, 3 * T_SLAB);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rdm_key(q, i + 1, &key[i]), 0);
		assert_ptr_equal(key[i].handle, t_recorder_find(more[i], q, 3 * T_SLAB));
		assert_int_equal(rdm_key(p, i + 1, &key[i]), 0);
		assert_ptr_equal(key[i].handle, t_recorder_find(more[i], p, 5000));
	}
	assert_int_equal(t_stats(pool).rails, 4);
	assert_int_equal(rdm_pool_remove_rail(pool, 2), 0);
	assert_int_equal(more[1]->live, 0);
	errno = 0;
	assert_int_equal(rdm_key(p, 2, &key[0]), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(rdm_key(p, 3, &key[0]), 0);
	/* The number that became free is given again. */
	assert_int_equal(t_recorder_add(more[1], pool), 2);
	assert_int_equal(t_audit(pool), 0);
	assert_int_equal(t_pattern_check(p, 5000, 4), 5000);
	rdm_free(p);
	rdm_free(q);
	for (int i = 3; i > 0; i--) {
		assert_int_equal(rdm_pool_remove_rail(pool, i), 0);
		assert_int_equal(more[i - 1]->live, 0);
		t_recorder_free(more[i - 1]);
	}
}

/* Everything of one size, until the limit says no; returns how many. */
static unsigned fill(rdm_pool *from, size_t size, void **block, unsigned most)
{
	unsigned n = 0;

	errno = 0;
	while (n < most && (block[n] = rdm_malloc(from, size)))
		n++;
	return n;
}

static void limit_is_kept_and_recovers(void **state)
{
	enum { MOST = 4096 };
	const size_t limit = 16 * T_MIB;
	rdm_pool *small = t_pool("limited", 0, 0, T_SLAB, limit);
	static const size_t sizes[] = { 65536, T_MIB, 100, 65536, 3 * T_MIB, 20000 };
	void *block[MOST];

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned n = fill(small, sizes[i], block, MOST);

		if (n < MOST)
			assert_int_equal(errno, ENOMEM);
		assert_true(t_stats(small).slab_bytes <= limit);
		/* Blocks of another size must not have eaten the pool. */
		assert_true(n == MOST || n * sizes[i] >= limit / 2);
		assert_true(n * sizes[i] <= limit);
		while (n--)
			rdm_free(block[n]);
	}
	assert_int_equal(rdm_pool_destroy(small), 0);
}

static void stats_add_up(void **state)
{
	struct rdm_stats stats, before = t_stats(pool);
	char *p[100];
	size_t usable = 0;

	(void)state;
	assert_int_equal(before.live_blocks, 0);
	for (unsigned i = 0; i < 100; i++) {
		p[i] = t_malloc(pool, 777 * i + 1);
		usable += rdm_usable_size(p[i]);
	}
	stats = t_stats(pool);
	assert_int_equal(stats.live_blocks, 100);
	assert_int_equal(stats.live_bytes, usable);
	assert_true(stats.carved_bytes >= usable && stats.slab_bytes >= stats.carved_bytes);
	assert_int_equal(stats.slabs, recorder->live);
	assert_int_equal(stats.registrations, recorder->regs);
	assert_int_equal(stats.deregistrations, recorder->deregs);
	assert_int_equal(stats.growths, stats.slabs);
	assert_int_equal(stats.rails, 1);
	assert_int_equal(stats.inherited, 0);
	for (unsigned i = 0; i < 100; i++)
		rdm_free(p[i]);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	stats = t_stats(pool);
	assert_int_equal(stats.live_blocks, 0);
	assert_int_equal(stats.live_bytes, 0);
	assert_int_equal(stats.slabs, 0);
	assert_int_equal(stats.slab_bytes, 0);
	assert_int_equal(stats.carved_bytes, 0);
	assert_int_equal(stats.deregistrations, recorder->deregs);
}

static int nothing(void *arg)
{
	(void)arg;
	return T_PASS;
}

static void stats_count_forks(void **state)
{
	struct rdm_stats before = t_stats(pool), after;

	(void)state;
	t_fork_passes(nothing, NULL);
	t_fork_passes(nothing, NULL);
	after = t_stats(pool);
	assert_int_equal(after.forks, before.forks + 2);
	assert_in_range(after.last_fork_ns, 1, 10000000000ULL);
}

static void reserve_and_trim(void **state)
{
	void *block;

	(void)state;
	assert_int_equal(rdm_pool_reserve(pool, 5 * T_SLAB + 1), 0);
	assert_int_equal(t_stats(pool).slab_bytes, 6 * T_SLAB);
	assert_int_equal(recorder->regs, recorder->live);
	/* What was reserved is used: no growth. */
	block = t_malloc(pool, T_SLAB / 2);
	assert_int_equal(t_stats(pool).slab_bytes, 6 * T_SLAB);
	assert_int_equal(rdm_pool_trim(pool, 3 * T_SLAB), 0);
	assert_int_equal(t_stats(pool).slab_bytes, 3 * T_SLAB);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	assert_int_equal(t_stats(pool).slab_bytes, T_SLAB);
	memset(block, 1, T_SLAB / 2);
	rdm_free(block);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	assert_int_equal(recorder->live, 0);
}

static void reset_forgets(void **state)
{
	void *p = t_malloc(pool, 5000), *q = t_malloc(pool, 3 * T_SLAB);

	(void)state;
	assert_int_equal(rdm_pool_reset(pool), 0);
	assert_int_equal(recorder->live, 0);
	assert_int_equal(t_stats(pool).live_blocks, 0);
	assert_int_equal(t_stats(pool).rails, 0);
	assert_int_equal(rdm_usable_size(p), 0);
	assert_null(rdm_pool_of(q));
	p = t_malloc(pool, 5000);
	assert_int_equal(t_recorder_add(recorder, pool), 0);
	assert_int_equal(t_audit(pool), 0);
	rdm_free(p);
}

static void errno_is_kept(void **state)
{
	void *p = t_malloc(pool, 100), *q = t_malloc(pool, 3 * T_SLAB);

	(void)state;
	errno = ENOTTY;
	rdm_free(p);
	rdm_free(q);
	rdm_free(NULL);
	assert_int_equal(errno, ENOTTY);
}

enum { WALKED = 500 };

static struct walk {
	void *block[WALKED];
	size_t seen, stop_at;
} walk;

static int free_if_ours(void *context, void *block, size_t size)
{
	struct walk *at = context;

	T_CHECK(at->seen < WALKED && size == rdm_usable_size(block));
	T_CHECK(!at->seen || block > at->block[at->seen - 1]);
	at->block[at->seen++] = block;
	if (at->seen == at->stop_at)
		return 7;
	rdm_free(block);
	return 0;
}

static int nothing_is_left(void *context, void *block, size_t size)
{
	(void)context;
	(void)block;
	(void)size;
	return 1;
}

static void each_block(void **state)
{
	(void)state;
	assert_int_equal(rdm_pool_each_block(pool, nothing_is_left, NULL), 0);
	for (size_t i = 0; i < WALKED; i++)
		t_malloc(pool, i % 3 ? 200 * i : T_MIB / 4 + i);
	walk.stop_at = WALKED / 2;
	assert_int_equal(rdm_pool_each_block(pool, free_if_ours, &walk), 7);
	assert_int_equal(t_stats(pool).live_blocks, WALKED - WALKED / 2 + 1);
	errno = 0;
	assert_int_equal(rdm_pool_destroy(pool), -1);
	assert_int_equal(errno, EBUSY);
	rdm_free(walk.block[--walk.seen]);
	walk.stop_at = WALKED + 1;
	assert_int_equal(rdm_pool_each_block(pool, free_if_ours, &walk), 0);
	assert_int_equal(walk.seen, WALKED - 1);
	assert_int_equal(rdm_pool_each_block(pool, nothing_is_left, NULL), 0);
}

/* A destructor that runs again and again, at last after everybody else's. */
static pthread_key_t last_key;
static _Atomic(unsigned) late_blocks;

static void allocate_late(void *round)
{
	void *p = rdm_malloc(pool, 200), *q = rdm_malloc(pool, 50000);

	T_CHECKF(p && q, "no block in a thread that ends");
	T_CHECK(rdm_pool_of(p) == pool && rdm_pool_of(q) == pool);
	T_CHECK(t_recorder_find(recorder, p, 200) && t_recorder_find(recorder, q, 50000));
	memset(p, 1, 200);
	memset(q, 1, 50000);
	rdm_free(p);
	rdm_free(q);
	late_blocks += 2;
	if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS)
		T_CHECK(!pthread_setspecific(last_key, (char *)round + 1));
}

static void *ending_thread(void *used_before)
{
	T_CHECK(!pthread_setspecific(last_key, (void *)1));
	if (used_before)
		rdm_free(t_malloc(pool, 100));
	return NULL;
}

static void ending_threads_may_allocate(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_key_create(&last_key, allocate_late), 0);
	late_blocks = 0;
	for (uintptr_t i = 0; i < 40; i++) {
		assert_int_equal(pthread_create(&thread, NULL, ending_thread, (void *)(i % 2)), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	assert_int_equal(late_blocks, 40 * 2 * PTHREAD_DESTRUCTOR_ITERATIONS);
	assert_int_equal(t_stats(pool).live_blocks, 0);
	assert_int_equal(pthread_key_delete(last_key), 0);
}

static void version(void **state)
{
	(void)state;
	assert_string_equal(rdm_version(), "0.1.0");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(every_size),
		CASE(every_alignment),
		CASE(calloc_is_zero_after_dirty_use),
		CASE(realloc_keeps_contents),
		CASE(realloc_failure_keeps_the_block),
		CASE(pointers_inside),
		CASE(rails_of_a_live_pool),
		CASE(limit_is_kept_and_recovers),
		CASE(stats_add_up),
		CASE(stats_count_forks),
		CASE(reserve_and_trim),
		CASE(reset_forgets),
		CASE(errno_is_kept),
		CASE(each_block),
		CASE(ending_threads_may_allocate),
		CASE(version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
