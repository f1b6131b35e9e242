/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child can allocate at addresses that are new to jemalloc, although threads
 * of the parent were the first at others when it forked.
 */
#include "support.h"

#include <stdatomic.h>
#include <unistd.h>

enum { WINDOWS = 24, THREADS = 3 };

static const size_t window = (size_t)1 << 30;
static _Atomic(bool) stop;
static rdm_pool *pool[THREADS];

/* Each block is the first in a gigabyte of addresses, until the reserve is used up. */
static void *walk(void *arg)
{
	rdm_pool **mine = arg;
	void *block[WINDOWS / THREADS];

	while (!stop) {
		for (unsigned i = 0; i < WINDOWS / THREADS; i++) {
			block[i] = rdm_aligned_alloc(*mine, window, 64);
			T_CHECK(block[i]);
		}
		for (unsigned i = 0; i < WINDOWS / THREADS; i++)
			rdm_free(block[i]);
		T_CHECK(!rdm_pool_reset(*mine));
	}
	return NULL;
}

static int child(void *arg)
{
	rdm_pool *own;

	(void)arg;
	own = t_pool("child", 0, 0, T_SLAB, 0);
	for (unsigned i = 0; i < 4; i++)
		T_CHECK(rdm_aligned_alloc(own, window, 64));
	return T_PASS;
}

/* One process sees each gigabyte for the first time once: so each try is a process. */
static int one_try(void *arg)
{
	pthread_t thread[THREADS];

	(void)arg;
	for (unsigned i = 0; i < THREADS; i++) {
		pool[i] = t_pool("walker", 0, 0, T_SLAB, 0);
		T_CHECK(!pthread_create(&thread[i], NULL, walk, &pool[i]));
	}
	for (unsigned i = 0; i < 20; i++)
		t_fork_passes(child, NULL);
	stop = true;
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	return T_PASS;
}

int main(void)
{
	for (unsigned i = 0; i < (t_quick() || T_SANITIZED ? 3 : 40); i++)
		t_fork_passes(one_try, NULL);
	return T_PASS;
}
