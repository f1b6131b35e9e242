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

enum { BLOCKS = 64, BLOCK_MAX = 256 << 10 };

static struct ibv_context *open_rxe(void)
{
	int n;
	struct ibv_device **list = ibv_get_device_list(&n);
	struct ibv_context *context = NULL;

	T_CHECKF(list, "ibv_get_device_list: %m");
	for (int i = 0; i < n; i++)
		if (!strcmp(ibv_get_device_name(list[i]), "rxe0"))
			context = ibv_open_device(list[i]);
	T_CHECKF(context, "libibverbs cannot open rxe0, it sees %d devices", n);
	ibv_free_device_list(list);
	return context;
}

/* The memory regions on rxe0 that the kernel has of this process and any other. */
static size_t kernel_mrs(void)
{
	FILE *rdma = popen("rdma resource show mr", "r");
	char line[512];
	size_t n = 0;

	T_CHECK(rdma);
	while (fgets(line, sizeof(line), rdma))
		n += strstr(line, "rxe0") != NULL;
	T_CHECK(pclose(rdma) == 0);
	return n;
}

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

static unsigned backing_of(const char *name)
{
	if (!strcmp(name, "shared"))
		return RDM_BACKING_SHARED;
	if (!strcmp(name, "hugetlb"))
		return RDM_BACKING_HUGETLB;
	T_CHECKF(!strcmp(name, "anon"), "there is no backing %s", name);
	return RDM_BACKING_ANON;
}

int main(int argc, char **argv)
{
	struct t_rng rng = { t_seed() };
	void *block[BLOCKS];
	size_t len[BLOCKS];

	T_CHECKF(argc == 2, "usage: smoke BACKING");
	struct ibv_context *context = open_rxe();
	struct ibv_pd *pd = ibv_alloc_pd(context);
	T_CHECK(pd && kernel_mrs() == 0);

	rdm_pool *pool = t_pool("smoke", backing_of(argv[1]), RDM_FORK_HOLE, T_SLAB, 0);
	int rail = rdm_pool_add_verbs(pool, pd,
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
	      kernel_mrs());
	T_CHECK(slabs > 0 && kernel_mrs() == slabs);
	T_CHECK(t_audit(pool) == 0);

	t_fork_passes(child, block[0]);
	T_CHECK(kernel_mrs() == slabs);
	T_CHECK(t_audit(pool) == 0);
	for (int i = 0; i < BLOCKS; i++) {
		T_CHECK(t_pattern_check(block[i], len[i], (uint64_t)i) == len[i]);
		rdm_free(block[i]);
	}
	T_CHECKF(rdm_pool_destroy(pool) == 0, "rdm_pool_destroy: %m");
	T_CHECKF(kernel_mrs() == 0, "%zu memory regions are left", kernel_mrs());
	T_CHECK(ibv_dealloc_pd(pd) == 0);
	T_CHECK(ibv_close_device(context) == 0);
	return T_PASS;
}
