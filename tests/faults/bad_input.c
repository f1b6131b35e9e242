/* SPDX-License-Identifier: BSD-2-Clause */
/* Each bad argument has its documented outcome: errno, or an abort with one line. */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const size_t block_size = 5000;

/* volatile: the compiler knows what these functions refuse. */
/* The part of each line that names the cause. */
#define WORD_FOREIGN "not a pointer of any pool"
#define WORD_NOT_LIVE "freed already"
#define WORD_INSIDE "inside a block"
#define WORD_SIZE "the block has"

static volatile size_t huge = SIZE_MAX, three = 3, zero;

#define REFUSED(failed, err)                  \
	do {                                  \
		errno = 0;                    \
		assert_true(failed);          \
		assert_int_equal(errno, err); \
	} while (0)

static rdm_pool *plain_pool(void)
{
	rdm_pool *pool = rdm_pool_create(NULL);

	assert_non_null(pool);
	return pool;
}

static void no_pool(void **state)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	struct rdm_audit audit = { .size = sizeof(audit) };
	struct t_recorder *recorder = t_recorder_new("recorder");

	(void)state;
	REFUSED(!rdm_malloc(NULL, 1), EINVAL);
	REFUSED(!rdm_calloc(NULL, 1, 1), EINVAL);
	REFUSED(!rdm_aligned_alloc(NULL, 64, 64), EINVAL);
	REFUSED(!rdm_realloc(NULL, NULL, 64), EINVAL);
	REFUSED(rdm_pool_reserve(NULL, 1) == -1, EINVAL);
	REFUSED(rdm_pool_trim(NULL, 0) == -1, EINVAL);
	REFUSED(rdm_pool_audit(NULL, &audit) == -1, EINVAL);
	REFUSED(rdm_pool_stats(NULL, &stats) == -1, EINVAL);
	REFUSED(rdm_pool_destroy(NULL) == -1, EINVAL);
	REFUSED(rdm_pool_reset(NULL) == -1, EINVAL);
	REFUSED(rdm_pool_add_rail(NULL, &recorder->ops, recorder) == -1, EINVAL);
	REFUSED(rdm_pool_remove_rail(NULL, 0) == -1, EINVAL);
	REFUSED(rdm_usable_size(NULL) == 0, EINVAL);
	REFUSED(!rdm_pool_of(NULL), EINVAL);
	t_recorder_free(recorder);
}

static void sizes(void **state)
{
	rdm_pool *pool = plain_pool();
	void *none = rdm_malloc(pool, zero), *other = rdm_calloc(pool, zero, huge);
	void *grown;

	(void)state;
	assert_non_null(none);
	assert_non_null(other);
	assert_ptr_not_equal(none, other);
	REFUSED(!rdm_malloc(pool, huge), ENOMEM);
	REFUSED(!rdm_malloc(pool, huge / 2), ENOMEM);
	REFUSED(!rdm_malloc(pool, ((size_t)448 << 30) + 1), ENOMEM);
	REFUSED(!rdm_calloc(pool, huge, 2), ENOMEM);
	REFUSED(!rdm_calloc(pool, huge / 2 + 1, 2), ENOMEM);
	REFUSED(!rdm_aligned_alloc(pool, 64, huge), ENOMEM);
	REFUSED(!rdm_aligned_alloc(pool, huge / 4 + 1, 64), ENOMEM);
	REFUSED(!rdm_realloc(pool, none, huge), ENOMEM);
	REFUSED(rdm_pool_reserve(pool, huge) == -1, ENOMEM);
	assert_int_equal(rdm_usable_size(none), 64);
	grown = rdm_realloc(pool, none, zero);
	assert_non_null(grown);
	rdm_free(grown);
	rdm_free(other);
	rdm_free(NULL);
	rdm_free_sized(NULL, 7);
	assert_int_equal(rdm_pool_destroy(pool), 0);
}

static void alignments(void **state)
{
	rdm_pool *pool = plain_pool();

	(void)state;
	REFUSED(!rdm_aligned_alloc(pool, three, 64), EINVAL);
	REFUSED(!rdm_aligned_alloc(pool, zero, 64), EINVAL);
	REFUSED(!rdm_aligned_alloc(pool, 96 + zero, 64), EINVAL);
	REFUSED(!rdm_aligned_alloc(pool, huge, 64), EINVAL);
	assert_int_equal(rdm_pool_destroy(pool), 0);
}

static void queries(void **state)
{
	rdm_pool *pool = plain_pool();
	struct t_recorder *recorder = t_recorder_new("recorder");
	struct rdm_stats stats = { .size = 0 };
	struct rdm_audit audit = { .size = 1 };
	struct rdm_key key;
	char *block = t_malloc(pool, block_size);
	char *dead = t_malloc(pool, block_size);
	int local = 0;
	char *foreign = malloc(64);

	(void)state;
	t_recorder_add(recorder, pool);
	rdm_free(dead);
	REFUSED(rdm_key(&local, 0, &key) == -1, EINVAL);
	REFUSED(rdm_key(foreign, 0, &key) == -1, EINVAL);
	REFUSED(rdm_key(NULL, 0, &key) == -1, EINVAL);
	REFUSED(rdm_key((void *)huge, 0, &key) == -1, EINVAL);
	REFUSED(rdm_key(block, 1, &key) == -1, ENOENT);
	REFUSED(rdm_key(block, -1, &key) == -1, ENOENT);
	REFUSED(rdm_key(block, RDM_RAILS_MAX, &key) == -1, ENOENT);
	REFUSED(rdm_key(block, 1 << 30, &key) == -1, ENOENT);
	REFUSED(rdm_usable_size(&local) == 0, EINVAL);
	REFUSED(rdm_usable_size(foreign) == 0, EINVAL);
	REFUSED(rdm_usable_size(block + 64) == 0, EINVAL);
	REFUSED(rdm_usable_size(block + 1) == 0, EINVAL);
	REFUSED(rdm_usable_size(dead) == 0, EINVAL);
	REFUSED(!rdm_pool_of(&local), EINVAL);
	REFUSED(rdm_pool_stats(pool, &stats) == -1, EINVAL);
	REFUSED(rdm_pool_audit(pool, &audit) == -1, EINVAL);
	REFUSED(rdm_pool_stats(pool, NULL) == -1, EINVAL);
	REFUSED(rdm_pool_audit(pool, NULL) == -1, EINVAL);
	REFUSED(rdm_pool_remove_rail(pool, 1) == -1, ENOENT);
	REFUSED(rdm_pool_remove_rail(pool, -1) == -1, ENOENT);
	REFUSED(rdm_pool_remove_rail(pool, RDM_RAILS_MAX) == -1, ENOENT);
	rdm_free(block);
	free(foreign);
	assert_int_equal(rdm_pool_destroy(pool), 0);
	t_recorder_free(recorder);
}

static void live_pool_destroyed(void **state)
{
	struct t_recorder *recorder = t_recorder_new("recorder");
	rdm_pool *pool = plain_pool();
	char *block = t_malloc(pool, block_size);
	struct rdm_key key;

	(void)state;
	t_recorder_add(recorder, pool);
	t_pattern_fill(block, block_size, 1);
	REFUSED(rdm_pool_destroy(pool) == -1, EBUSY);
	assert_int_equal(t_pattern_check(block, block_size, 1), block_size);
	assert_int_equal(rdm_key(block, 0, &key), 0);
	assert_int_equal(recorder->deregs, 0);
	rdm_free(t_malloc(pool, 10 * T_MIB));
	rdm_free(block);
	assert_int_equal(rdm_pool_destroy(pool), 0);
	assert_int_equal(recorder->live, 0);
	REFUSED(rdm_pool_destroy(pool) == -1, EINVAL);
	REFUSED(!rdm_malloc(pool, 1), EINVAL);
	t_recorder_free(recorder);
}

static void bad_configs(void **state)
{
	struct rdm_pool_config good = RDM_POOL_CONFIG_INIT, bad;

	(void)state;
#define BAD(field, value, err)                        \
	do {                                          \
		bad = good;                           \
		bad.field = value;                    \
		REFUSED(!rdm_pool_create(&bad), err); \
	} while (0)
	BAD(size, 0, EINVAL);
	BAD(size, 1, EINVAL);
	BAD(slab_size, 1, EINVAL);
	BAD(slab_size, 3 * T_MIB, EINVAL);
	BAD(slab_size, huge, EINVAL);
	BAD(backing, RDM_BACKING_SHARED + 1, EINVAL);
	BAD(pages, RDM_PAGES_1G + 1, EINVAL);
	BAD(fork, RDM_FORK_COPY + 1, EINVAL);
	BAD(node, -2, EINVAL);
	BAD(node, 100000, ENOTSUP);
#undef BAD
	bad = good;
	bad.backing = RDM_BACKING_ANON;
	bad.pages = RDM_PAGES_2M;
	REFUSED(!rdm_pool_create(&bad), EINVAL);
	bad = good;
	bad.backing = RDM_BACKING_HUGETLB;
	bad.pages = RDM_PAGES_THP;
	REFUSED(!rdm_pool_create(&bad), EINVAL);
	bad = good;
	bad.limit = T_SLAB / 2;
	REFUSED(!rdm_pool_create(&bad), EINVAL);
}

static void bad_rails(void **state)
{
	struct t_recorder *recorder = t_recorder_new("recorder");
	struct rdm_registrar ops;
	rdm_pool *pool = plain_pool();

	(void)state;
	REFUSED(rdm_pool_add_rail(pool, NULL, NULL) == -1, EINVAL);
	ops = recorder->ops;
	ops.size = 0;
	REFUSED(rdm_pool_add_rail(pool, &ops, recorder) == -1, EINVAL);
	ops = recorder->ops;
	ops.reg = NULL;
	REFUSED(rdm_pool_add_rail(pool, &ops, recorder) == -1, EINVAL);
	ops = recorder->ops;
	ops.dereg = NULL;
	REFUSED(rdm_pool_add_rail(pool, &ops, recorder) == -1, EINVAL);
	assert_int_equal(rdm_pool_add_verbs(pool, NULL, 0), -1);
	assert_true(errno == EINVAL || errno == ENOTSUP);
	assert_int_equal(rdm_pool_add_uring(pool, NULL, 0), -1);
	assert_true(errno == EINVAL || errno == ENOTSUP);
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		assert_int_equal(rdm_pool_add_rail(pool, &recorder->ops, recorder), i);
	REFUSED(rdm_pool_add_rail(pool, &recorder->ops, recorder) == -1, ENOSPC);
	assert_int_equal(recorder->live, 0);
	assert_int_equal(rdm_pool_destroy(pool), 0);
	t_recorder_free(recorder);
}

/* What aborts: each runs in a child, on a pool of its own. */
struct crime {
	char *block, *other;
	void *culprit;
};

static int free_foreign(void *arg)
{
	rdm_free(((struct crime *)arg)->culprit);
	return T_PASS;
}

static int free_twice(void *arg)
{
	struct crime *crime = arg;

	rdm_free(crime->block);
	rdm_free(crime->culprit);
	return T_PASS;
}

static int free_twice_late(void *arg)
{
	struct crime *crime = arg;

	rdm_free(crime->block);
	rdm_free(crime->other);
	rdm_free(crime->culprit);
	return T_PASS;
}

static int free_wrong_size(void *arg)
{
	rdm_free_sized(((struct crime *)arg)->culprit, 2 * block_size);
	return T_PASS;
}

static int free_small_size(void *arg)
{
	rdm_free_sized(((struct crime *)arg)->culprit, 1);
	return T_PASS;
}

static int realloc_it(void *arg)
{
	void *volatile p = rdm_realloc(NULL, ((struct crime *)arg)->culprit, 100);

	return p ? T_PASS : T_FAIL;
}

static void commit(int (*act)(void *arg), struct crime *crime, void *culprit, const char *word)
{
	struct t_caught caught;

	crime->culprit = culprit;
	t_catch(&caught, act, crime);
	t_caught_abort(&caught, culprit, word);
}

static void crimes(void **state)
{
	rdm_pool *pool = plain_pool();
	struct crime crime = { t_malloc(pool, block_size), t_malloc(pool, block_size), NULL };
	char *large = t_malloc(pool, 3 * T_SLAB), *small = t_malloc(pool, 1);
	char local[128] = { 0 }, *foreign = malloc(block_size);

	(void)state;
	commit(free_foreign, &crime, local, WORD_FOREIGN);
	commit(free_foreign, &crime, foreign, WORD_FOREIGN);
	commit(free_foreign, &crime, (void *)&huge, WORD_FOREIGN);
	commit(free_foreign, &crime, (void *)huge, WORD_FOREIGN);
	commit(free_twice, &crime, crime.block, WORD_NOT_LIVE);
	commit(free_twice_late, &crime, crime.block, WORD_NOT_LIVE);
	commit(free_foreign, &crime, crime.block + 64, WORD_INSIDE);
	commit(free_foreign, &crime, crime.block + 1, WORD_INSIDE);
	commit(free_foreign, &crime, crime.block + block_size - 1, WORD_INSIDE);
	commit(free_foreign, &crime, large + T_SLAB, WORD_INSIDE);
	commit(free_foreign, &crime, large + 3 * T_SLAB - 64, WORD_INSIDE);
	commit(free_foreign, &crime, small + 1, WORD_INSIDE);
	commit(free_wrong_size, &crime, crime.block, WORD_SIZE);
	commit(free_small_size, &crime, crime.block, WORD_SIZE);
	commit(realloc_it, &crime, foreign, WORD_FOREIGN);
	commit(realloc_it, &crime, crime.block + 128, WORD_INSIDE);
	rdm_free_sized(crime.block, block_size);
	rdm_free_sized(crime.other, rdm_usable_size(crime.other));
	rdm_free(large);
	rdm_free(small);
	free(foreign);
	assert_int_equal(rdm_pool_destroy(pool), 0);
}

static rdm_pool *another_pool;

static int realloc_elsewhere(void *arg)
{
	struct crime *crime = arg;

	errno = 0;
	if (rdm_realloc(another_pool, crime->block, 10) || errno != EINVAL)
		return T_FAIL;
	return t_pattern_check(crime->block, block_size, 3) == block_size ? T_PASS : T_FAIL;
}

/* The pool of a realloc is the block's own. */
static void wrong_pool(void **state)
{
	rdm_pool *pool = plain_pool();
	struct crime crime = { t_malloc(pool, block_size), NULL, NULL };

	(void)state;
	another_pool = plain_pool();
	t_pattern_fill(crime.block, block_size, 3);
	assert_int_equal(realloc_elsewhere(&crime), T_PASS);
	rdm_free(crime.block);
	assert_int_equal(rdm_pool_destroy(pool), 0);
	assert_int_equal(rdm_pool_destroy(another_pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_pool),     cmocka_unit_test(sizes),
		cmocka_unit_test(alignments),  cmocka_unit_test(queries),
		cmocka_unit_test(bad_configs), cmocka_unit_test(bad_rails),
		cmocka_unit_test(wrong_pool),  cmocka_unit_test(live_pool_destroyed),
		cmocka_unit_test(crimes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
