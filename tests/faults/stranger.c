/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reserve is claimed by agreement with nobody. A stranger who maps something there, between
 * slabs, after them, or where a table would continue, keeps it: no slab is put over it, fork()
 * treats it as anybody's memory, and pools go on beside it or fail with one line.
 */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { STRANGERS = 4 };

static struct {
	rdm_pool *pool;
	char *block[64];
	char *stranger[STRANGERS];
	unsigned blocks;
} scene;

/* One granule, written, unless something is there. */
static char *settle(char *at, char byte)
{
	char *got = mmap(at, T_SLAB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	T_CHECKF(got == at, "a stranger finds no place at %p: %s", (void *)at,
		 got == MAP_FAILED ? strerror(errno) : "it got another");
	memset(got, byte, T_SLAB);
	return got;
}

static void expect_strangers(void)
{
	for (char i = 0; i < STRANGERS; i++)
		for (size_t k = 0; k < T_SLAB; k += 64)
			T_CHECKF(scene.stranger[(int)i][k] == i + 1,
				 "byte %zu of the stranger at %p has changed", k,
				 (void *)scene.stranger[(int)i]);
}

static void grow(unsigned blocks, size_t size)
{
	for (unsigned i = 0; i < blocks; i++) {
		char *p = t_malloc(scene.pool, size);

		for (unsigned k = 0; k < STRANGERS; k++)
			T_CHECKF(!scene.stranger[k] || p + size <= scene.stranger[k] ||
					 scene.stranger[k] + T_SLAB <= p,
				 "the block %p is where the stranger %p is", (void *)p,
				 (void *)scene.stranger[k]);
		memset(p, 'b', size);
		scene.block[scene.blocks++] = p;
	}
}

static void give_back(void)
{
	while (scene.blocks)
		rdm_free(scene.block[--scene.blocks]);
	T_CHECK(!rdm_pool_trim(scene.pool, 0));
}

static int child(void *arg)
{
	(void)arg;
	expect_strangers();
	memset(scene.stranger[0], 1, T_SLAB);
	T_CHECK(!rdm_pool_reset(scene.pool));
	rdm_free(t_malloc(scene.pool, 3 * T_SLAB));
	expect_strangers();
	return T_PASS;
}

static void play(unsigned policy)
{
	struct t_recorder *recorder = t_recorder_new("recorder");
	char *first;

	memset(&scene, 0, sizeof(scene));
	scene.pool = t_pool("neighbour", 0, policy, T_SLAB, 0);
	t_recorder_add(recorder, scene.pool);
	grow(3, T_SLAB);
	first = scene.block[0];
	/* Where the next slab would go, further on, and with room for one slab between. */
	scene.stranger[0] = settle(first + 3 * T_SLAB, 1);
	scene.stranger[1] = settle(first + 5 * T_SLAB, 2);
	scene.stranger[2] = settle(first + 9 * T_SLAB, 3);
	/* And where one was that is gone. */
	rdm_free(scene.block[--scene.blocks]);
	T_CHECK(!rdm_pool_trim(scene.pool, 0));
	scene.stranger[3] = settle(first + 2 * T_SLAB, 4);
	grow(6, T_SLAB);
	grow(2, 3 * T_SLAB);
	expect_strangers();
	T_CHECK(!t_audit(scene.pool));
	t_fork_passes(child, NULL);
	expect_strangers();
	give_back();
	grow(4, T_SLAB);
	expect_strangers();
	give_back();
	T_CHECK(!rdm_pool_destroy(scene.pool) && !recorder->live);
	expect_strangers();
	for (unsigned i = 0; i < STRANGERS; i++)
		T_CHECK(!munmap(scene.stranger[i], T_SLAB));
	t_recorder_free(recorder);
}

int main(void)
{
	static const unsigned policies[] = { RDM_FORK_HOLE, RDM_FORK_ZERO, RDM_FORK_COPY };

	for (unsigned i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		play(policies[i]);
		t_say("policy %u: strangers keep what they have", policies[i]);
	}
	return T_PASS;
}
