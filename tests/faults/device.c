/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device that is removed takes its registrations with it and costs the pool
 * one rail; a device that only fails keeps its slabs. soft-RoCE cannot be made
 * to do either, so these functions of libibverbs are played here.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <infiniband/verbs.h>

static struct {
	int reg_error, dereg_error, query_error;
	size_t live;
	bool too_late; /* for ibv_fork_init(), which this kernel needs */
} fake;

static struct ibv_device device = { .name = "fake0" };
static struct ibv_context context = { .device = &device };
static struct ibv_pd pd = { .context = &context };

int ibv_query_device(struct ibv_context *of, struct ibv_device_attr *attributes)
{
	T_CHECK(of == &context);
	*attributes = (struct ibv_device_attr){ .max_mr = 77, .max_mr_size = 2 * T_SLAB };
	return fake.query_error;
}

enum ibv_fork_status ibv_is_fork_initialized(void)
{
	return fake.too_late ? IBV_FORK_DISABLED : IBV_FORK_UNNEEDED;
}

int ibv_fork_init(void)
{
	T_CHECK(fake.too_late);
	return EINVAL;
}

/* What ibv_reg_mr() is, where the access flags are no constant. */
struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *of, void *addr, size_t length, uint64_t iova,
				unsigned access)
{
	struct ibv_mr *mr = fake.reg_error ? NULL : calloc(1, sizeof(*mr));

	(void)access;
	T_CHECK(of == &pd && iova == (uintptr_t)addr && length <= 2 * T_SLAB);
	if (!mr) {
		errno = fake.reg_error;
		return NULL;
	}
	mr->addr = addr;
	fake.live++;
	return mr;
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	/* As for any other process when the device is removed: the region is gone, too. */
	if (fake.dereg_error && fake.query_error)
		free(mr);
	if (fake.dereg_error)
		return fake.dereg_error;
	fake.live--;
	free(mr);
	return 0;
}

static struct t_recorder *recorder;
static rdm_pool *pool;
static int rail;

static void set_up(void)
{
	fake.reg_error = fake.dereg_error = fake.query_error = 0;
	fake.live = 0;
	recorder = t_recorder_new("other rail");
	pool = t_pool("device", 0, 0, T_SLAB, 0);
	t_recorder_add(recorder, pool);
	rail = rdm_pool_add_verbs(pool, &pd, 0);
	T_CHECK(rail == 1);
}

static void tear_down(void)
{
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
}

static void the_device_is_removed(void)
{
	void *block[2];

	set_up();
	block[0] = t_malloc(pool, T_MIB);
	fake.reg_error = fake.dereg_error = fake.query_error = EIO;
	T_CHECK(!rdm_malloc(pool, T_SLAB) && errno == EIO);
	T_CHECK(!rdm_pool_remove_rail(pool, rail));
	block[1] = t_malloc(pool, T_SLAB);
	T_CHECK(recorder->live == 2);
	rdm_free(block[0]);
	rdm_free(block[1]);
	tear_down();
}

static void the_device_only_fails(void)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	set_up();
	rdm_free(t_malloc(pool, T_MIB));
	fake.dereg_error = EIO;
	T_CHECK(rdm_pool_trim(pool, 0) && errno == EBUSY);
	T_CHECK(!rdm_pool_stats(pool, &stats) && stats.quarantined == T_SLAB && !stats.slabs);
	T_CHECK(rdm_pool_remove_rail(pool, rail) && errno == EIO);
	fake.dereg_error = 0;
	T_CHECK(!rdm_pool_remove_rail(pool, rail) && !fake.live);
	tear_down();
}

static void limits_of_the_device(void)
{
	set_up();
	T_CHECK(rdm_pool_add_verbs(pool, &pd, IBV_ACCESS_ON_DEMAND) && errno == ENOTSUP);
	T_CHECK(rdm_pool_add_verbs(pool, NULL, 0) && errno == EINVAL);
	T_CHECK(!rdm_malloc(pool, 3 * T_SLAB) && errno == ENOMEM);
	rdm_free(t_malloc(pool, 2 * T_SLAB));
	T_CHECK(!rdm_pool_trim(pool, 0) && !fake.live);
	fake.reg_error = ENOMEM;
	T_CHECK(!rdm_malloc(pool, T_MIB) && errno == ENOMEM);
	T_CHECK(!recorder->live && !fake.live);
	fake.reg_error = 0;
	tear_down();
	T_CHECK(!fake.live);
}

static int two_rails_too_late(void *arg)
{
	(void)arg;
	fake.too_late = true;
	for (int i = 0; i < 2; i++) {
		set_up();
		rdm_free(t_malloc(pool, 100));
		tear_down();
	}
	return T_PASS;
}

static void fork_init_comes_too_late(void)
{
	struct t_caught caught;

	t_catch(&caught, two_rails_too_late, NULL);
	t_caught_line(&caught, "ibv_fork_init", "too late");
}

int main(void)
{
	fork_init_comes_too_late();
	the_device_is_removed();
	the_device_only_fails();
	limits_of_the_device();
	return T_PASS;
}
