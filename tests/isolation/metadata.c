/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nothing of the allocator's own lies in a slab: every registered byte is
 * overwritten, as a peer with a key can do, and everything goes on working.
 */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { POOLS = 3, KEPT = 600, ROUNDS = T_TSAN ? 6 : 30 };

static struct {
	rdm_pool *pool;
	struct t_recorder *recorder;
} set[POOLS];

static struct {
	unsigned char *p;
	size_t size;
} kept[KEPT];

static struct t_rng rng;

/* The whole of every slab: blocks, freed blocks, what was never given out. */
static void overwrite(void)
{
	for (unsigned i = 0; i < POOLS; i++)
		t_recorder_fill(set[i].recorder, 0xff);
}

static void allocate_one(unsigned i)
{
	rdm_pool *pool = set[t_below(&rng, POOLS)].pool;
	size_t size = t_log_uniform(&rng, 1, t_below(&rng, 20) ? 8192 : 3 * T_MIB);
	bool zero = !t_below(&rng, 3);
	unsigned char *p = zero ? rdm_calloc(pool, 1, size) : rdm_malloc(pool, size);

	T_CHECKF(p, "no block of %zu: %s", size, strerror(errno));
	T_CHECKF(!zero || t_is_byte(p, size, 0), "calloc of %zu is not zero", size);
	T_CHECK(rdm_pool_of(p) == pool && rdm_usable_size(p) >= size);
	memset(p, (int)i, size);
	kept[i].p = p;
	kept[i].size = size;
}

static void work(unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		unsigned i = (unsigned)t_below(&rng, KEPT);

		if (!kept[i].p) {
			allocate_one(i);
		} else if (t_below(&rng, 3)) {
			rdm_free(kept[i].p);
			kept[i].p = NULL;
		} else {
			size_t size = t_log_uniform(&rng, 1, 100000);

			kept[i].p = rdm_realloc(NULL, kept[i].p, size);
			T_CHECKF(kept[i].p, "no realloc to %zu: %s", size, strerror(errno));
			kept[i].size = size;
			memset(kept[i].p, (int)i, size);
		}
	}
}

static void check_whole(void)
{
	for (unsigned i = 0; i < KEPT; i++)
		T_CHECKF(!kept[i].p || t_is_byte(kept[i].p, kept[i].size, (int)i),
			 "block %u was written by the allocator", i);
}

static int child(void *arg)
{
	rdm_pool *pool;

	(void)arg;
	for (unsigned i = 0; i < KEPT; i++)
		rdm_free(kept[i].p);
	pool = t_pool("child", 0, 0, 0, 0);
	rdm_free(t_malloc(pool, 12345));
	for (unsigned i = 0; i < POOLS; i++) {
		T_CHECK(!rdm_pool_reset(set[i].pool));
		rdm_free(t_malloc(set[i].pool, 54321));
	}
	return T_PASS;
}

int main(void)
{
	static const unsigned policy[POOLS] = { RDM_FORK_HOLE, RDM_FORK_ZERO, RDM_FORK_COPY };

	rng.state = t_seed();
	for (unsigned i = 0; i < POOLS; i++) {
		set[i].recorder = t_recorder_new("recorder");
		set[i].pool = t_pool("metadata", 0, policy[i], T_SLAB, 0);
		t_recorder_add(set[i].recorder, set[i].pool);
		T_CHECK(!rdm_pool_reserve(set[i].pool, 4 * T_SLAB));
	}
	/* Before the first block, too. */
	overwrite();
	for (unsigned round = 0; round < ROUNDS; round++) {
		work(2000);
		check_whole();
		overwrite();
		for (unsigned i = 0; i < KEPT; i++)
			T_CHECK(!kept[i].p || t_is_byte(kept[i].p, kept[i].size, 0xff));
		t_fork_passes(child, NULL);
		overwrite();
		T_CHECK(!rdm_pool_trim(set[round % POOLS].pool, 0));
		overwrite();
		T_CHECK(!rdm_pool_reserve(set[round % POOLS].pool, 16 * T_SLAB));
		overwrite();
		for (unsigned i = 0; i < KEPT; i++)
			if (kept[i].p)
				memset(kept[i].p, (int)i, kept[i].size);
	}
	for (unsigned i = 0; i < KEPT; i++)
		rdm_free(kept[i].p);
	for (unsigned i = 0; i < POOLS; i++) {
		overwrite();
		T_CHECK(!rdm_pool_destroy(set[i].pool) && !set[i].recorder->live);
	}
	return T_PASS;
}
