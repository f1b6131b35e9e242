/* SPDX-License-Identifier: BSD-2-Clause */
/* 100,000 live buffers cost fewer than 64 mappings, in the child too. */
#include "support.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFERS = 100000, MOST = 64 };

static int child(void *pool)
{
	uintptr_t lo, hi;

	t_reserve_of((uintptr_t)pool, &lo, &hi);
	T_CHECKF(t_vmas(lo, hi) < MOST, "%zu mappings in the child", t_vmas(lo, hi));
	return T_PASS;
}

static void fill(unsigned policy)
{
	/* What the program and its libraries map is not ours. */
	size_t before = t_vmas_total();
	struct t_recorder *recorder = t_recorder_new("recorder");
	rdm_pool *pool = t_pool("vmas", RDM_BACKING_ANON, policy, 0, 0);
	void **buffer = calloc(BUFFERS, sizeof(*buffer));
	size_t after, of_pool;
	struct t_rng rng = { .state = 1 };
	uintptr_t lo, hi;

	t_recorder_add(recorder, pool);
	for (unsigned i = 0; i < BUFFERS; i++)
		buffer[i] = t_malloc(pool, t_log_uniform(&rng, 1, 10000));
	/* Slabs in the middle go, and come back. */
	for (unsigned i = 0; i < BUFFERS; i += 2)
		rdm_free(buffer[i]);
	T_CHECK(!rdm_pool_trim(pool, 0));
	for (unsigned i = 0; i < BUFFERS; i += 2)
		buffer[i] = t_malloc(pool, t_log_uniform(&rng, 1, 10000));
	after = t_vmas_total();
	t_reserve_of((uintptr_t)buffer[0], &lo, &hi);
	of_pool = t_vmas(lo, hi);
	t_say("policy %u: %zu slabs, %zu mappings of the process before and %zu after, %zu in "
	      "the reserve",
	      policy, recorder->live, before, after, of_pool);
	T_CHECK(of_pool < MOST);
	if (T_SANITIZED)
		t_say("built with a sanitizer: its own mappings are not counted");
	else
		T_CHECKF(after < before + MOST, "%zu mappings more", after - before);
	t_fork_passes(child, buffer[0]);
	for (unsigned i = 0; i < BUFFERS; i++)
		rdm_free(buffer[i]);
	free(buffer);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
}

int main(void)
{
	fill(RDM_FORK_HOLE);
	fill(RDM_FORK_COPY);
	return T_PASS;
}
