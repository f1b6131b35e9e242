/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Thousands of forks while six threads allocate, free, grow and trim: no fork
 * and no child hangs, and each child can make a pool and allocate.
 */
#include "support.h"

#include <string.h>
#include <unistd.h>

enum { WORKERS = 6, KEPT = 32, SPURT = 50 };

static rdm_pool *pools[2];
static struct t_recorder *recorders[2];
static _Atomic(bool) stop;
static _Atomic(uint64_t) blocks, trims;
static uint64_t seed;

/* Each fork starts a spurt of work in every thread, and comes in the middle of it. */
static struct t_spurts spurts = T_SPURTS_INIT;

static void work(rdm_pool *pool, struct t_rng *rng, void *kept[KEPT])
{
	unsigned i = (unsigned)t_below(rng, KEPT);

	rdm_free(kept[i]);
	/* A block beyond the slab size needs a slab of its own: growth. */
	kept[i] = t_malloc(pool, t_below(rng, 400) ? t_log_uniform(rng, 1, 65536) : T_SLAB + T_MIB);
	*(volatile char *)kept[i] = 1;
	blocks++;
	if (!t_below(rng, 400)) {
		T_CHECK(!rdm_pool_trim(pool, 0));
		trims++;
	}
}

static void *worker(void *arg)
{
	struct t_rng rng = { .state = seed + (uintptr_t)arg };
	void *kept[KEPT] = { NULL };
	uint64_t last = 0;

	while (!stop) {
		t_spurts_await(&spurts, &last);
		for (unsigned n = 0; n < SPURT; n++)
			work(pools[(uintptr_t)arg % 2], &rng, kept);
	}
	for (unsigned i = 0; i < KEPT; i++)
		rdm_free(kept[i]);
	return NULL;
}

static int child(void *inherited)
{
	rdm_pool *pool;
	void *block;

	rdm_free(inherited);
	pool = t_pool("child", 0, 0, T_SLAB, 0);
	block = t_malloc(pool, 1000);
	memset(block, 1, 1000);
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

int main(void)
{
	unsigned forks = T_SANITIZED ? 200 : t_quick() ? 500 : 20000;
	pthread_t thread[WORKERS];

	if (T_SANITIZED)
		t_say("built with a sanitizer: a short run");
	seed = t_seed();
	for (unsigned i = 0; i < 2; i++) {
		pools[i] = t_pool("stress", 0, i ? RDM_FORK_HOLE : RDM_FORK_COPY, T_SLAB, 0);
		recorders[i] = t_recorder_new("stress");
		t_recorder_add(recorders[i], pools[i]);
	}
	for (uintptr_t i = 0; i < WORKERS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, worker, (void *)i));
	for (unsigned i = 0; i < forks; i++) {
		void *block = t_malloc(pools[i % 2], 500);
		int status;

		t_spurts_start(&spurts);
		status = t_fork(child, block);
		T_CHECKF(!status, "fork %u: the child ended with status %#x", i, status);
		rdm_free(block);
	}
	stop = true;
	t_spurts_start(&spurts);
	for (unsigned i = 0; i < WORKERS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	for (unsigned i = 0; i < 2; i++) {
		T_CHECK(!t_audit(pools[i]));
		T_CHECK(!rdm_pool_destroy(pools[i]) && !recorders[i]->live);
	}
	t_say("%u forks, %llu blocks, %llu trims", forks, (unsigned long long)blocks,
	      (unsigned long long)trims);
	return T_PASS;
}
