/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child that adds a rail to an inherited pool goes on with what is in it, and
 * so do its children. When that fails, in the registrar or before, the pool is
 * inherited as it was, contents and all.
 */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* The linker sends the library's calls here (--wrap). */
int __real_madvise(void *addr, size_t length, int advice);
int __wrap_madvise(void *addr, size_t length, int advice);

static unsigned fail_populate; /* the n-th from now; 0: none */
static unsigned populated;

int __wrap_madvise(void *addr, size_t length, int advice)
{
	if (advice == MADV_POPULATE_WRITE) {
		populated++;
		if (fail_populate && !--fail_populate) {
			errno = ENOMEM;
			return -1;
		}
	}
	return __real_madvise(addr, length, advice);
}

enum { BLOCKS = 60, SLABS_AT_LEAST = 4 };

static struct {
	rdm_pool *pool;
	unsigned policy;
	char *block[2 * BLOCKS];
	size_t size[2 * BLOCKS];
	unsigned count;
	struct t_recorder *recorder; /* of the parent, whoever that is */
} scene;

static size_t slabs_of(rdm_pool *pool)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	T_CHECK(!rdm_pool_stats(pool, &stats));
	return stats.slabs;
}

static void add_blocks(unsigned count)
{
	for (; count--; scene.count++) {
		unsigned i = scene.count;

		scene.size[i] = i % 10 ? 1 + i * i * 37 % 70000 : 3 * T_SLAB / 4 + i;
		scene.block[i] = t_malloc(scene.pool, scene.size[i]);
		t_pattern_fill(scene.block[i], scene.size[i], i);
	}
}

/* With `fresh` blocks at the end that have been written in this process. */
static void expect_contents(unsigned fresh)
{
	for (unsigned i = 0; i < scene.count; i++) {
		char *p = scene.block[i];

		T_CHECK(rdm_usable_size(p) >= scene.size[i]);
		if (scene.policy == RDM_FORK_COPY || i >= scene.count - fresh)
			T_CHECKF(t_pattern_check(p, scene.size[i], i) == scene.size[i],
				 "block %u differs at %zu", i,
				 t_pattern_check(p, scene.size[i], i));
		else
			T_CHECKF(t_is_byte(p, scene.size[i], 0), "block %u is not zero", i);
	}
}

static void expect_inherited(void)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	struct rdm_audit audit = { .size = sizeof(audit) };
	void *volatile none;
	struct rdm_key key;

	T_CHECK(!rdm_pool_stats(scene.pool, &stats) && stats.inherited && !stats.rails);
	T_CHECK(stats.live_blocks == scene.count);
	T_FAILS(!(none = rdm_malloc(scene.pool, 1)), ECHILD);
	T_FAILS(rdm_pool_trim(scene.pool, 0) == -1, ECHILD);
	T_FAILS(rdm_pool_audit(scene.pool, &audit) == -1, ECHILD);
	for (unsigned i = 0; i < scene.count; i++)
		T_FAILS(rdm_key(scene.block[i], 0, &key) == -1, ECHILD);
	if (scene.policy == RDM_FORK_HOLE)
		return;
	expect_contents(0);
}

static struct t_recorder *adopt(void)
{
	struct t_recorder *own = t_recorder_new("own");
	struct rdm_key key;

	T_CHECK(t_recorder_add(own, scene.pool) == 0);
	T_CHECK(own->live == slabs_of(scene.pool) && !t_audit(scene.pool));
	for (unsigned i = 0; i < scene.count; i++) {
		T_CHECK(!rdm_key(scene.block[i], 0, &key));
		T_CHECK(key.handle == t_recorder_find(own, scene.block[i], scene.size[i]));
	}
	T_CHECK(!scene.recorder->deregs);
	return own;
}

static void free_all(struct t_recorder *own)
{
	while (scene.count--)
		rdm_free_sized(scene.block[scene.count], scene.size[scene.count]);
	T_CHECK(!rdm_pool_destroy(scene.pool) && (!own || !own->live));
	scene.count = 0;
}

static int only_reads(void *arg)
{
	(void)arg;
	expect_inherited();
	free_all(NULL);
	return T_PASS;
}

/* Adopts, allocates, and hands on to the next generation. */
static int generation(void *arg)
{
	uintptr_t depth = (uintptr_t)arg;
	unsigned fresh = 5;
	struct t_recorder *own;

	expect_inherited();
	own = adopt();
	expect_contents(0);
	add_blocks(fresh);
	expect_contents(fresh);
	T_CHECK(!t_audit(scene.pool));
	scene.recorder = own;
	t_fork_passes(only_reads, NULL);
	if (depth)
		t_fork_passes(generation, (void *)(depth - 1));
	expect_contents(fresh);
	T_CHECK(!t_audit(scene.pool));
	free_all(own);
	t_recorder_free(own);
	return T_PASS;
}

/* Every place in which the registrar can fail, with the next generation each time. */
static int registrar_fails(void *arg)
{
	struct t_recorder *failing = t_recorder_new("failing");
	size_t slabs = slabs_of(scene.pool);

	for (size_t n = 1; n <= slabs; n++) {
		failing->fail_reg = n;
		failing->fail_errno = ENOSPC;
		T_FAILS(rdm_pool_add_rail(scene.pool, &failing->ops, failing) == -1, ENOSPC);
		T_CHECK(!failing->live);
		/* Adoption itself has happened: what was a hole is memory. */
		expect_inherited();
		if (scene.policy == RDM_FORK_HOLE)
			expect_contents(0);
		t_fork_passes(only_reads, NULL);
	}
	t_recorder_free(failing);
	return generation(arg);
}

/* The memory of the n-th slab cannot be prepared. */
static int memory_fails(void *arg)
{
	struct t_recorder *own = t_recorder_new("unused");
	size_t slabs = slabs_of(scene.pool);

	for (unsigned n = (unsigned)slabs; n; n--) {
		fail_populate = 1;
		populated = 0;
		T_FAILS(rdm_pool_add_rail(scene.pool, &own->ops, own) == -1, ENOMEM);
		T_CHECK(!own->regs && populated == 1);
		expect_inherited();
		t_fork_passes(only_reads, NULL);
		/* One more slab is adopted each time, the next one is in the way. */
		fail_populate = 2;
		populated = 0;
		if (n > 1) {
			T_FAILS(rdm_pool_add_rail(scene.pool, &own->ops, own) == -1, ENOMEM);
			T_CHECK(!own->regs && populated == 2);
		}
		expect_inherited();
		t_fork_passes(only_reads, NULL);
	}
	fail_populate = 0;
	t_recorder_free(own);
	return generation(arg);
}

static void play(unsigned policy)
{
	scene.policy = policy;
	scene.recorder = t_recorder_new("parent");
	scene.pool = t_pool("adopt", 0, policy, T_SLAB, 0);
	t_recorder_add(scene.recorder, scene.pool);
	add_blocks(BLOCKS);
	/* A slab without a block has no contents, and must be there all the same. */
	T_CHECK(!rdm_pool_reserve(scene.pool, (slabs_of(scene.pool) + 2) * 2 * T_SLAB));
	T_CHECK(slabs_of(scene.pool) >= SLABS_AT_LEAST);
	t_fork_passes(generation, (void *)3);
	t_fork_passes(registrar_fails, (void *)1);
	t_fork_passes(memory_fails, (void *)1);
	for (unsigned i = 0; i < scene.count; i++)
		T_CHECK(t_pattern_check(scene.block[i], scene.size[i], i) == scene.size[i]);
	T_CHECK(!t_audit(scene.pool));
	free_all(scene.recorder);
	t_recorder_free(scene.recorder);
}

int main(void)
{
	play(RDM_FORK_HOLE);
	play(RDM_FORK_ZERO);
	play(RDM_FORK_COPY);
	return T_PASS;
}
