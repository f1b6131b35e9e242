/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * io_uring rails that cannot be: EINVAL or EBUSY and a line; a table that is
 * full is ENOSPC, and the pool recovers from it.
 */
#include "support.h"
#include "sparse.h"

#include <errno.h>
#include <limits.h>
#include <liburing.h>
#include <setjmp.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif

enum { MOST_SLOTS = 1 << 14 };

static rdm_pool *pool;
static struct io_uring ring;

static int set_up(void **state)
{
	(void)state;
	pool = t_pool("uring", 0, 0, T_SLAB, 0);
	return io_uring_queue_init(8, &ring, 0);
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(rdm_pool_destroy(pool), 0);
	io_uring_queue_exit(&ring);
	return 0;
}

static struct rdm_stats stats_now(void)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	assert_int_equal(rdm_pool_stats(pool, &stats), 0);
	return stats;
}

/* A fixed-buffer read from a pipe: the kernel itself checks the key. */
static void expect_device_access(struct io_uring *on, char *block, size_t size, int rail)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(on);
	struct io_uring_cqe *cqe;
	struct rdm_key key;
	int fd[2];

	assert_non_null(sqe);
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], "device", 6), 6);
	assert_int_equal(rdm_key(block + size - 6, rail, &key), 0);
	io_uring_prep_read_fixed(sqe, fd[0], block + size - 6, 6, 0, (int)key.lkey);
	assert_int_equal(io_uring_submit(on), 1);
	assert_int_equal(io_uring_wait_cqe(on, &cqe), 0);
	assert_int_equal(cqe->res, 6);
	io_uring_cqe_seen(on, cqe);
	assert_memory_equal(block + size - 6, "device", 6);
	close(fd[0]);
	close(fd[1]);
}

struct wrong {
	struct io_uring *ring;
	unsigned slots;
	int error;
};

static int add_wrongly(void *arg)
{
	struct wrong *wrong = arg;
	rdm_pool *own = t_pool("wrong", 0, 0, T_SLAB, 0);
	struct rdm_stats stats = { .size = sizeof(stats) };

	errno = 0;
	T_CHECKF(rdm_pool_add_uring(own, wrong->ring, wrong->slots) == -1, "it is added");
	T_CHECKF(errno == wrong->error, "errno %d, not %d", errno, wrong->error);
	T_CHECK(!rdm_pool_stats(own, &stats) && !stats.rails);
	rdm_free(t_malloc(own, 100));
	T_CHECK(!rdm_pool_destroy(own));
	return T_PASS;
}

static void refuses(struct io_uring *on, unsigned slots, int error, const char *word)
{
	struct wrong wrong = { on, slots, error };
	struct t_caught caught;

	t_catch(&caught, add_wrongly, &wrong);
	t_caught_line(&caught, "rdm_pool_add_uring", word);
}

static void single_issuer(void **state)
{
	struct io_uring single;
	int ret = io_uring_queue_init(8, &single, IORING_SETUP_SINGLE_ISSUER);

	(void)state;
	if (ret) {
		t_say("SKIP: no ring with IORING_SETUP_SINGLE_ISSUER: %s", strerror(-ret));
		skip();
	}
	refuses(&single, 0, EINVAL, "SINGLE_ISSUER");
	refuses(&single, 4, EINVAL, "SINGLE_ISSUER");
	/* It is left as it was. */
	assert_int_equal(io_uring_register_buffers_sparse(&single, 4), 0);
	io_uring_queue_exit(&single);
}

static void slots_out_of_range(void **state)
{
	(void)state;
	refuses(&ring, MOST_SLOTS + 1, EINVAL, "16385 slots");
	refuses(&ring, 20000, EINVAL, "16384 at most");
	refuses(&ring, UINT_MAX, EINVAL, "4294967295 slots");
	assert_int_equal(rdm_pool_add_uring(pool, &ring, MOST_SLOTS), 0);
	rdm_free(t_malloc(pool, 100));
}

static void buffers_registered_already(void **state)
{
	char *mine = t_malloc(pool, t_page());
	struct iovec buffer = { .iov_base = mine, .iov_len = t_page() };

	(void)state;
	assert_int_equal(io_uring_register_buffers(&ring, &buffer, 1), 0);
	refuses(&ring, 0, EBUSY, "registered buffers");
	/* The caller's own is still there. */
	assert_int_equal(io_uring_unregister_buffers(&ring), 0);
	assert_int_equal(rdm_pool_add_uring(pool, &ring, 0), 0);
	expect_device_access(&ring, mine, t_page(), 0);
	refuses(&ring, 0, EBUSY, "registered buffers");
	rdm_free(mine);
}

static void comes_back(void **state)
{
	char *block[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		block[i] = t_malloc(pool, T_SLAB);
	for (unsigned round = 0; round < 20; round++) {
		struct rdm_key key;

		assert_int_equal(rdm_pool_add_uring(pool, &ring, 3 + round), 0);
		for (unsigned i = 0; i < 3; i++)
			expect_device_access(&ring, block[i], T_SLAB, 0);
		assert_int_equal(t_audit(pool), 0);
		assert_int_equal(rdm_pool_remove_rail(pool, 0), 0);
		errno = 0;
		assert_int_equal(rdm_key(block[0], 0, &key), -1);
		assert_int_equal(errno, ENOENT);
	}
	assert_int_equal(stats_now().registrations, 60);
	assert_int_equal(stats_now().deregistrations, 60);
	for (unsigned i = 0; i < 3; i++)
		rdm_free(block[i]);
}

static void table_is_full(void **state)
{
	char *block[8];
	void *volatile none;

	(void)state;
	assert_int_equal(rdm_pool_add_uring(pool, &ring, 2), 0);
	for (unsigned round = 0; round < 3; round++) {
		block[0] = t_malloc(pool, T_SLAB);
		block[1] = t_malloc(pool, T_SLAB);
		T_FAILS(!(none = rdm_malloc(pool, 100)), ENOSPC);
		T_FAILS(rdm_pool_reserve(pool, 3 * T_SLAB) == -1, ENOSPC);
		assert_int_equal(stats_now().slabs, 2);
		assert_int_equal(stats_now().slab_bytes, 2 * T_SLAB);
		expect_device_access(&ring, block[1], T_SLAB, 0);
		rdm_free(block[0]);
		rdm_free(block[1]);
		/* Idle slabs have the slots; they go when that is what it takes. */
		block[0] = t_malloc(pool, 3 * T_SLAB);
		expect_device_access(&ring, block[0], 3 * T_SLAB, 0);
		rdm_free(block[0]);
		assert_int_equal(rdm_pool_trim(pool, 0), 0);
		assert_int_equal(stats_now().slabs, 0);
	}
	/* The same ring, a longer table. */
	block[0] = t_malloc(pool, T_SLAB);
	block[1] = t_malloc(pool, T_SLAB);
	T_FAILS(!(none = rdm_malloc(pool, 100)), ENOSPC);
	assert_int_equal(rdm_pool_remove_rail(pool, 0), 0);
	assert_int_equal(rdm_pool_add_uring(pool, &ring, 8), 0);
	for (unsigned i = 2; i < 8; i++)
		block[i] = t_malloc(pool, T_SLAB);
	T_FAILS(!(none = rdm_malloc(pool, 100)), ENOSPC);
	for (unsigned i = 0; i < 8; i++) {
		expect_device_access(&ring, block[i], T_SLAB, 0);
		rdm_free(block[i]);
	}
	assert_int_equal(t_audit(pool), 0);
}

/* A pool that has more slabs than the table has slots. */
static void table_is_too_short(void **state)
{
	char *block[3];
	struct rdm_key key;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		block[i] = t_malloc(pool, T_SLAB);
	for (unsigned slots = 1; slots < 3; slots++) {
		T_FAILS(rdm_pool_add_uring(pool, &ring, slots) == -1, ENOSPC);
		assert_int_equal(stats_now().rails, 0);
		assert_int_equal(stats_now().registrations, stats_now().deregistrations);
		assert_int_equal(rdm_key(block[0], 0, &key), -1);
	}
	assert_int_equal(rdm_pool_add_uring(pool, &ring, 3), 0);
	for (unsigned i = 0; i < 3; i++) {
		expect_device_access(&ring, block[i], T_SLAB, 0);
		rdm_free(block[i]);
	}
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(single_issuer), CASE(slots_out_of_range), CASE(buffers_registered_already),
		CASE(comes_back),    CASE(table_is_full),      CASE(table_is_too_short),
	};

	/* The longest table has 16 MiB pinned, and the kernel may be late to unpin what was before. */
	if (!t_can_lock(4 * 8 * T_SLAB))
		t_skip("RLIMIT_MEMLOCK is too small, the test needs 64 MiB");
	t_need_sparse_tables();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
