/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A million buffers of 4 to 64 KiB come and go, each is looked up and every
 * thousandth is written by RDMA: after the first tenth there must be no more
 * regions, registrations or mappings. Beside it, what a region for each buffer
 * does to the number of mappings with ibv_fork_init() in force.
 */
#include <stdlib.h>

#include "support.h"
#include "vm.h"

enum { LIVE = 256, PLAIN_LIVE = 2000, BUFFER_MIN = 4 << 10, BUFFER_MAX = 64 << 10 };

struct counts {
	size_t vmas, mrs;
	struct rdm_stats stats;
};

static struct t_wire wire;
static struct t_rng rng = { 1 };

static struct counts count(rdm_pool *pool)
{
	struct counts now = { .stats.size = sizeof(now.stats) };

	T_CHECK(!rdm_pool_stats(pool, &now.stats));
	now.mrs = t_kernel_mrs(ibv_get_device_name(wire.device.context->device));
	now.vmas = t_vmas_total();
	return now;
}

static void print(const char *when, const struct counts *now)
{
	t_say("%-24s %5zu mappings, %3zu slabs, %3zu regions in the kernel, %3zu registrations",
	      when, now->vmas, now->stats.slabs, now->mrs, (size_t)now->stats.registrations);
}

static size_t any_length(void)
{
	return BUFFER_MIN + t_below(&rng, BUFFER_MAX - BUFFER_MIN + 1);
}

static void come_and_go(rdm_pool *pool, int rail, size_t n)
{
	static void *live[LIVE];
	static size_t length[LIVE];
	struct rdm_key key;

	for (size_t i = 0; i < n; i++) {
		size_t slot = t_below(&rng, LIVE), other = t_below(&rng, LIVE);

		rdm_free(live[slot]);
		length[slot] = any_length();
		live[slot] = t_malloc(pool, length[slot]);
		T_CHECK(!rdm_key(live[slot], rail, &key));
		T_CHECK((char *)live[slot] + length[slot] <= (char *)key.base + key.length);
		if (i % 1000 || !live[other] || other == slot)
			continue;
		T_CHECK(t_wire_write(&wire, rail, live[slot], live[other],
				     length[slot] < length[other] ? length[slot] : length[other],
				     i));
	}
	for (size_t i = 0; i < LIVE; i++) {
		rdm_free(live[i]);
		live[i] = NULL;
	}
}

static void pooled(size_t n)
{
	rdm_pool *pool = t_pool("churn", RDM_BACKING_ANON, RDM_FORK_HOLE, 0, 0);
	int rail = rdm_pool_add_verbs(pool, wire.device.pd,
				      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	struct counts warm, after;

	T_CHECKF(rail == 0, "rdm_pool_add_verbs: %m");
	t_say("a pool, %zu buffers, %d at a time:", n, LIVE);
	T_CHECK(!rdm_pool_reserve(pool, 2 * LIVE * BUFFER_MAX));
	come_and_go(pool, rail, n / 10);
	warm = count(pool);
	print("  after the first tenth", &warm);
	come_and_go(pool, rail, n - n / 10);
	after = count(pool);
	print("  at the end", &after);
	T_CHECK(after.vmas == warm.vmas && after.mrs == warm.mrs);
	T_CHECK(after.stats.registrations == warm.stats.registrations);
	T_CHECK(after.stats.registrations == after.stats.slabs);
	T_CHECK(!after.stats.deregistrations);
	T_CHECK(!rdm_pool_destroy(pool));
}

/* A region for each buffer; what lies between the buffers is the program's own. */
static void one_by_one(void)
{
	static struct ibv_mr *mr[PLAIN_LIVE];
	static void *data[PLAIN_LIVE];
	size_t before = t_vmas_total(), most = 0;

	for (size_t i = 0; i < PLAIN_LIVE; i++) {
		size_t length = any_length();
		void *buffer = malloc(length);

		data[i] = malloc(any_length());
		T_CHECK(buffer && data[i]);
		mr[i] = ibv_reg_mr(wire.device.pd, buffer, length, IBV_ACCESS_LOCAL_WRITE);
		T_CHECKF(mr[i], "ibv_reg_mr of buffer %zu: %m", i);
	}
	most = t_vmas_total();
	for (size_t i = 0; i < PLAIN_LIVE; i++) {
		void *buffer = mr[i]->addr;

		T_CHECK(!ibv_dereg_mr(mr[i]));
		free(buffer);
		free(data[i]);
	}
	t_say("malloc, ibv_reg_mr for each buffer, %d at a time:\n"
	      "  %zu mappings before, %zu with all, %zu after",
	      PLAIN_LIVE, before, most, t_vmas_total());
	T_CHECKF(most > before + PLAIN_LIVE, "fork init is not in force: there is no growth");
}

int main(void)
{
	setenv("RDMAV_FORK_SAFE", "1", 1);
	t_wire_open(&wire, NULL);
	pooled(t_quick() ? 100000 : 1000000);
	one_by_one();
	t_wire_close(&wire);
	return T_PASS;
}
