/* SPDX-License-Identifier: BSD-2-Clause */
/* Rails come and go while threads allocate; every block always has its first rail's key. */
#include "support.h"

#include <sched.h>
#include <stdatomic.h>

enum { THREADS = 3, BLOCKS = 40, ROUNDS = 200 };

static rdm_pool *pool;
static _Atomic(bool) stop;
static _Atomic(unsigned) blocks;

static void check_key(char *block, size_t size, int rail)
{
	struct rdm_key key;

	T_CHECK(!rdm_key(block, rail, &key));
	T_CHECK(block >= (char *)key.base && block + size <= (char *)key.base + key.length);
}

static void *work(void *arg)
{
	struct t_rng rng = { .state = (uint64_t)(uintptr_t)arg };
	char *block[BLOCKS] = { NULL };

	while (!stop) {
		unsigned i = (unsigned)t_below(&rng, BLOCKS);
		size_t size = t_log_uniform(&rng, 1, T_MIB);

		rdm_free(block[i]);
		block[i] = t_malloc(pool, size);
		check_key(block[i], size, 0);
		if (!t_below(&rng, 200))
			T_CHECK(!rdm_pool_trim(pool, 0));
		blocks++;
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(block[i]);
	return NULL;
}

int main(void)
{
	struct t_recorder *first = t_recorder_new("stays"), *second = t_recorder_new("comes, goes");
	pthread_t thread[THREADS];
	unsigned seen = 0;

	pool = t_pool("rails", 0, 0, T_SLAB, 0);
	T_CHECK(t_recorder_add(first, pool) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, work, (void *)(i + 1)));
	for (unsigned round = 0; round < (t_quick() ? ROUNDS / 10 : ROUNDS); round++) {
		char *block = t_malloc(pool, 1000);

		T_CHECK(t_recorder_add(second, pool) == 1);
		check_key(block, 1000, 1);
		/* A slab that is made while the rail is there has it, too. */
		for (unsigned now = blocks; blocks < now + 20;)
			sched_yield();
		T_CHECK(t_recorder_find(second, block, 1000));
		T_CHECK(!t_audit(pool));
		T_CHECK(!rdm_pool_remove_rail(pool, 1));
		T_CHECK(!second->live && second->regs == second->deregs);
		rdm_free(block);
		seen = blocks;
	}
	stop = true;
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	t_say("%u blocks, %zu and %zu registrations", seen, first->regs, second->regs);
	T_CHECK(!rdm_pool_destroy(pool) && !first->live);
	t_recorder_free(first);
	t_recorder_free(second);
	return T_PASS;
}
