/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 1,000 pools made and destroyed and 10,000 grow and trim cycles leave the
 * registrations, mappings, descriptors and memory of the process as they were.
 */
#include "support.h"

#include <string.h>

enum { WARM_UP = 20, BLOCKS = 20 };

struct footprint {
	size_t live, vmas, fds, rss;
};

static struct t_recorder *recorder;

static struct footprint measure(void)
{
	return (struct footprint){ recorder->live, t_vmas_total(), t_fds(), t_rss() };
}

static void compare(const char *what, struct footprint before)
{
	struct footprint after = measure();

	t_say("%s: VMAs %zu to %zu, fds %zu to %zu, RSS %zu to %zu KiB, %zu registrations", what,
	      before.vmas, after.vmas, before.fds, after.fds, before.rss / 1024, after.rss / 1024,
	      recorder->regs);
	T_CHECKF(!after.live, "%zu registrations are left", after.live);
	T_CHECK(recorder->regs == recorder->deregs);
	T_CHECK(after.fds == before.fds);
	if (T_SANITIZED) {
		t_say("built with a sanitizer: its own mappings and memory hide ours, not compared");
		return;
	}
	T_CHECK(after.vmas <= before.vmas);
	/* One slab that was forgotten is 2 MiB. */
	T_CHECK(after.rss < before.rss + T_MIB);
}

static void one_pool(unsigned n)
{
	unsigned backing = n % 4 ? RDM_BACKING_ANON : RDM_BACKING_SHARED;
	rdm_pool *pool = t_pool("churn", backing, RDM_FORK_HOLE + n % 3, T_SLAB, 0);
	void *block[BLOCKS];

	t_recorder_add(recorder, pool);
	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = t_malloc(pool, 100 * (i + 1) * (n % 7 + 1));
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(block[i]);
	T_CHECK(!rdm_pool_destroy(pool));
}

static void many_pools(unsigned count)
{
	struct footprint before;

	for (unsigned i = 0; i < WARM_UP; i++)
		one_pool(i);
	before = measure();
	for (unsigned i = 0; i < count; i++)
		one_pool(i);
	compare("pools", before);
}

/* The pool is empty and has no slab before and after. */
static void one_cycle(rdm_pool *pool, unsigned n)
{
	void *block = t_malloc(pool, n % 10 ? 1000 + n % 5000 : T_SLAB + T_MIB);

	if (n % 3 == 1)
		T_CHECK(!rdm_pool_reserve(pool, 2 * T_SLAB));
	rdm_free(block);
	T_CHECK(!rdm_pool_trim(pool, 0));
	T_CHECKF(!recorder->live, "cycle %u: %zu slabs survive", n, recorder->live);
}

static void many_cycles(unsigned count)
{
	rdm_pool *pool = t_pool("cycles", 0, 0, T_SLAB, 0);
	struct footprint before;

	t_recorder_add(recorder, pool);
	for (unsigned i = 0; i < WARM_UP; i++)
		one_cycle(pool, i);
	before = measure();
	for (unsigned i = 0; i < count; i++)
		one_cycle(pool, i);
	compare("grow and trim", before);
	T_CHECK(!rdm_pool_destroy(pool));
}

int main(void)
{
	recorder = t_recorder_new("recorder");
	many_pools(t_quick() ? 100 : 1000);
	many_cycles(t_quick() || T_SANITIZED ? 500 : 10000);
	t_recorder_free(recorder);
	return T_PASS;
}
