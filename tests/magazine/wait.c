/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trim takes nothing out of a thread's magazines while the thread is at them:
 * no block gets two owners, however often trim and statistics interrupt.
 */
#include "stress.h"

#include <unistd.h>

static int disturbed(void *arg)
{
	struct stress stress = {
		.workers = STRESS_WORKERS,
		.lives = 2,
		.operations = T_TSAN              ? 10000 :
			      t_quick() || T_ASAN ? 100000 :
						    400000,
		.seed = *(uint64_t *)arg,
	};
	unsigned trims = 0;

	for (unsigned i = 0; i < STRESS_POOLS; i++)
		stress.pool[i] = t_pool("disturbed", 0, 0, T_SLAB, 0);
	stress_start(&stress);
	for (; !stress_done(); trims++)
		T_CHECK(!rdm_pool_trim(stress.pool[trims % STRESS_POOLS], SIZE_MAX));
	stress_end();
	for (unsigned i = 0; i < STRESS_POOLS; i++) {
		T_CHECK(!t_stats(stress.pool[i]).live_blocks);
		T_CHECK(!rdm_pool_trim(stress.pool[i], 0));
		T_CHECK(!t_stats(stress.pool[i]).slab_bytes);
		T_CHECK(!rdm_pool_destroy(stress.pool[i]));
	}
	t_say("%u trims", trims);
	return T_PASS;
}

int main(void)
{
	uint64_t seed = t_seed();

	/* In a child it has lost sight of jemalloc's locks. */
	if (T_TSAN)
		return disturbed(&seed);
	t_fork_passes(disturbed, &seed);
	return T_PASS;
}
