/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A registrar that fails, or that calls back: its errno comes through, nothing
 * stays registered or leaks, and the pool goes on.
 */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { NTH = 6 };

static struct t_recorder *first, *second;
static rdm_pool *pool;
static void *block[2 * NTH];

static int set_up(void **state)
{
	(void)state;
	first = t_recorder_new("first");
	second = t_recorder_new("second");
	first->fail_errno = second->fail_errno = ENOSPC;
	pool = t_pool("registrar", 0, 0, T_SLAB, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(rdm_pool_destroy(pool), 0);
	assert_int_equal(first->live, 0);
	assert_int_equal(second->live, 0);
	t_recorder_free(first);
	t_recorder_free(second);
	return 0;
}

/* Each block needs a slab of its own. */
static unsigned fill(void)
{
	unsigned n = 0;

	while (n < NTH && (block[n] = rdm_malloc(pool, T_SLAB)))
		n++;
	return n;
}

static void empty(unsigned n)
{
	while (n--)
		rdm_free(block[n]);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	assert_int_equal(first->live, 0);
	assert_int_equal(second->live, 0);
}

static void growth_fails(void **state)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	(void)state;
	t_recorder_add(first, pool);
	t_recorder_add(second, pool);
	for (unsigned n = 1; n <= 2 * NTH; n++) {
		struct t_recorder *failing = n % 2 ? first : second;
		unsigned made;

		failing->fail_reg = (n + 1) / 2;
		errno = 0;
		made = fill();
		assert_int_equal(made, (n + 1) / 2 - 1);
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(first->live, made);
		assert_int_equal(second->live, made);
		assert_int_equal(rdm_pool_stats(pool, &stats), 0);
		assert_int_equal(stats.slabs, made);
		/* Once more, and nothing fails. */
		block[made] = rdm_malloc(pool, T_SLAB);
		assert_non_null(block[made]);
		assert_int_equal(t_audit(pool), 0);
		empty(made + 1);
	}
}

static void reserve_fails(void **state)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	void *small;

	(void)state;
	t_recorder_add(first, pool);
	first->fail_reg = 3;
	errno = 0;
	assert_int_equal(rdm_pool_reserve(pool, 5 * T_SLAB), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(rdm_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.slabs, first->live);
	small = t_malloc(pool, 100);
	rdm_free(small);
}

/* A rail that comes to a pool with slabs, and fails in the middle. */
static void late_rail_fails(void **state)
{
	struct rdm_key key;
	unsigned made;

	(void)state;
	t_recorder_add(first, pool);
	made = fill();
	assert_int_equal(made, NTH);
	for (unsigned n = 1; n <= NTH; n++) {
		second->fail_reg = n;
		errno = 0;
		assert_int_equal(rdm_pool_add_rail(pool, &second->ops, second), -1);
		assert_int_equal(errno, ENOSPC);
		assert_int_equal(second->live, 0);
		assert_int_equal(first->live, NTH);
		errno = 0;
		assert_int_equal(rdm_key(block[0], 1, &key), -1);
		assert_int_equal(errno, ENOENT);
		assert_int_equal(rdm_key(block[0], 0, &key), 0);
	}
	assert_int_equal(t_recorder_add(second, pool), 1);
	assert_int_equal(second->live, NTH);
	assert_int_equal(t_audit(pool), 0);
	empty(made);
}

static void trim_is_refused(void **state)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	uintptr_t base;
	void *other;

	(void)state;
	t_recorder_add(first, pool);
	t_recorder_add(second, pool);
	block[0] = t_malloc(pool, T_SLAB);
	base = (uintptr_t)block[0];
	rdm_free(block[0]);
	first->fail_dereg = 1;
	errno = 0;
	assert_int_equal(rdm_pool_trim(pool, 0), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(rdm_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.quarantined, T_SLAB);
	assert_int_equal(first->live, 1);
	/* A device may still write there: mapped, and given to nobody. */
	assert_false(t_faults((void *)base, true));
	other = t_malloc(pool, T_SLAB);
	assert_ptr_not_equal(other, (void *)base);
	assert_int_equal(t_audit(pool), 0);
	rdm_free(other);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	assert_int_equal(first->live, 0);
	assert_int_equal(second->live, 0);
	assert_int_equal(rdm_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.quarantined, 0);
}

static void removal_is_refused(void **state)
{
	struct rdm_key key;
	unsigned made;

	(void)state;
	t_recorder_add(first, pool);
	t_recorder_add(second, pool);
	made = fill();
	first->fail_dereg = 1;
	errno = 0;
	assert_int_equal(rdm_pool_remove_rail(pool, 0), -1);
	assert_int_equal(errno, EIO);
	assert_in_range(first->live, 1, NTH);
	assert_int_equal(second->live, NTH);
	assert_int_equal(rdm_key(block[0], 1, &key), 0);
	/* Keys that could not be let go are looked for in the slabs. */
	assert_int_equal(t_audit(pool), 0);
	assert_int_equal(rdm_pool_remove_rail(pool, 0), 0);
	assert_int_equal(first->live, 0);
	errno = 0;
	assert_int_equal(rdm_key(block[0], 0, &key), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(rdm_key(block[0], 1, &key), 0);
	empty(made);
}

static void destroy_is_refused(void **state)
{
	(void)state;
	t_recorder_add(first, pool);
	rdm_free(t_malloc(pool, T_SLAB));
	first->fail_dereg = 1;
	errno = 0;
	assert_int_equal(rdm_pool_destroy(pool), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(first->live, 1);
	/* tear_down tries again, which works. */
}

static struct {
	unsigned calls, allocated;
	int growth_errno, trim_errno, create_errno, reserve_errno, rail_errno;
	void *small;
} seen;

/* What a registrar may do (libc's heap, a free block), and what it may not. */
static void call_back(struct t_recorder *recorder, void *addr, size_t length)
{
	void *heap = malloc(100000), *volatile p;

	(void)addr;
	assert_non_null(heap);
	memset(heap, 1, 100000);
	free(heap);
	seen.calls++;
	p = rdm_malloc(pool, 4 * length);
	seen.growth_errno = p ? 0 : errno;
	seen.small = rdm_malloc(pool, 64);
	seen.allocated += seen.small != NULL;
	if (seen.small)
		rdm_free(seen.small);
	seen.trim_errno = rdm_pool_trim(pool, 0) ? errno : 0;
	seen.reserve_errno = rdm_pool_reserve(pool, 100 * length) ? errno : 0;
	p = rdm_pool_create(NULL);
	seen.create_errno = p ? 0 : errno;
	seen.rail_errno = rdm_pool_remove_rail(pool, 0) ? errno : 0;
	(void)recorder;
}

static void registrar_calls_back(void **state)
{
	void *warm, *large;

	(void)state;
	memset(&seen, 0, sizeof(seen));
	first->on_reg = first->on_dereg = call_back;
	t_recorder_add(first, pool);
	warm = t_malloc(pool, 64);
	assert_int_equal(seen.calls, 1);
	large = t_malloc(pool, 2 * T_SLAB);
	assert_int_equal(seen.calls, 2);
	/* The second time the first slab had room. */
	assert_int_equal(seen.allocated, 1);
	assert_int_equal(seen.growth_errno, EDEADLK);
	assert_int_equal(seen.trim_errno, EDEADLK);
	assert_int_equal(seen.reserve_errno, EDEADLK);
	assert_int_equal(seen.create_errno, EDEADLK);
	assert_int_equal(seen.rail_errno, EDEADLK);
	rdm_free(large);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	assert_int_equal(seen.calls, 3);
	assert_int_equal(seen.growth_errno, EDEADLK);
	rdm_free(warm);
}

/* Whatever is allocated, no registration is longer than the rail can take. */
static void long_registrations(void **state)
{
	struct t_recorder *tiny = t_recorder_new("tiny");
	rdm_pool *wide = t_pool("wide", 0, 0, 8 * T_SLAB, 0);
	void *p, *volatile none;

	(void)state;
	first->ops.max_len = 4 * T_SLAB;
	t_recorder_add(first, wide);
	p = t_malloc(wide, 4 * T_SLAB);
	errno = 0;
	none = rdm_malloc(wide, 4 * T_SLAB + 1);
	assert_null(none);
	assert_int_equal(errno, ENOMEM);
	rdm_free(p);
	p = t_malloc(wide, 100);
	rdm_free(p);
	tiny->ops.max_len = t_page();
	errno = 0;
	assert_int_equal(rdm_pool_add_rail(wide, &tiny->ops, tiny), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(rdm_pool_destroy(wide), 0);
	assert_int_equal(first->live, 0);
	t_recorder_free(tiny);
}

static void late_rail_is_too_short(void **state)
{
	(void)state;
	block[0] = t_malloc(pool, 3 * T_SLAB);
	first->ops.max_len = 2 * T_SLAB;
	errno = 0;
	assert_int_equal(rdm_pool_add_rail(pool, &first->ops, first), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(first->live, 0);
	rdm_free(block[0]);
	t_recorder_add(second, pool);
}

/* The line about a failure names the rail. */
static int fails_once(void *arg)
{
	(void)arg;
	first->fail_reg = 1;
	return rdm_malloc(pool, T_SLAB) ? T_FAIL : T_PASS;
}

static int fails_once_alone(void *arg)
{
	pool = t_pool("alone", 0, 0, T_SLAB, 0);
	t_recorder_add(first, pool);
	return fails_once(arg);
}

static void failure_is_told(void **state)
{
	struct t_caught caught;

	(void)state;
	t_catch(&caught, fails_once_alone, NULL);
	t_caught_line(&caught, "first", strerror(ENOSPC));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(growth_fails),         CASE(reserve_fails),      CASE(late_rail_fails),
		CASE(trim_is_refused),      CASE(removal_is_refused), CASE(destroy_is_refused),
		CASE(registrar_calls_back), CASE(long_registrations), CASE(late_rail_is_too_short),
		CASE(failure_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
