/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way of a pool over real verbs: its slabs are memory regions of the
 * kernel's, whose own count of them is back to zero at the end.
 */
#include <infiniband/verbs.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support.h"
#include "vm.h"

enum { BLOCKS = 64, BLOCK_MAX = 256 << 10 };

static size_t slabs_of(rdm_pool *pool)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	T_CHECK(rdm_pool_stats(pool, &stats) == 0);
	return stats.slabs;
}

static void check_key(void *block, size_t len, int rail)
{
	struct rdm_key key;
	const struct ibv_mr *mr;

	T_CHECK(rdm_key(block, rail, &key) == 0);
	mr = key.handle;
	T_CHECK(key.lkey == mr->lkey && key.rkey == mr->rkey);
	T_CHECK(key.base == mr->addr && key.length == mr->length);
	T_CHECK((char *)block >= (char *)key.base);
	T_CHECK((char *)block + len <= (char *)key.base + key.length);
}

static int child(void *arg)
{
	struct rdm_key key;

	/* The keys are the parent's. */
	return rdm_key(arg, 0, &key) == -1 ? T_PASS : T_FAIL;
}

int main(int argc, char **argv)
{
	struct t_rng rng = { t_seed() };
	void *block[BLOCKS];
	size_t len[BLOCKS];

	T_CHECKF(argc == 2, "usage: smoke BACKING");
	struct rc_device device;
	struct probe_memory memory = t_pool_memory(argv[1]);
	T_CHECK(rc_device_open_named(&device, "rxe0") == 0 && t_kernel_mrs("rxe0") == 0);

	rdm_pool *pool =
		t_pool("smoke", (unsigned)(uintptr_t)memory.context, RDM_FORK_HOLE, T_SLAB, 0);
	int rail = rdm_pool_add_verbs(pool, device.pd,
				      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
					      IBV_ACCESS_REMOTE_WRITE);
	T_CHECKF(rail == 0, "rdm_pool_add_verbs: %m");
	for (int i = 0; i < BLOCKS; i++) {
		len[i] = t_log_uniform(&rng, 64, BLOCK_MAX);
		block[i] = t_malloc(pool, len[i]);
		t_pattern_fill(block[i], len[i], (uint64_t)i);
		check_key(block[i], len[i], rail);
	}
	size_t slabs = slabs_of(pool);
	t_say("fork status %d, %zu slabs, %zu memory regions", ibv_is_fork_initialized(), slabs,
	      t_kernel_mrs("rxe0"));
	T_CHECK(slabs > 0 && t_kernel_mrs("rxe0") == slabs);
	T_CHECK(t_audit(pool) == 0);

	t_fork_passes(child, block[0]);
	T_CHECK(t_kernel_mrs("rxe0") == slabs);
	T_CHECK(t_audit(pool) == 0);
	for (int i = 0; i < BLOCKS; i++) {
		T_CHECK(t_pattern_check(block[i], len[i], (uint64_t)i) == len[i]);
		rdm_free(block[i]);
	}
	T_CHECKF(rdm_pool_destroy(pool) == 0, "rdm_pool_destroy: %m");
	T_CHECKF(t_kernel_mrs("rxe0") == 0, "%zu memory regions are left", t_kernel_mrs("rxe0"));
	T_CHECK(rc_device_close(&device) == 0);
	return T_PASS;
}
