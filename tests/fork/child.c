/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child is a usable process: an inherited pool says ECHILD, new pools, reset
 * pools and adopted pools work, in threads too; it can fork, exec and exit. No
 * mapping of the child lands in the reserve. One program for each backing.
 */
#include "backing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	unsigned policy, backing;
	rdm_pool *pool;
	struct t_recorder *recorder;
	unsigned char *block;
	uintptr_t lo, hi;
} scene;

static const size_t block_size = 100000;

static void exercise(rdm_pool *pool)
{
	unsigned char *p[64];

	for (unsigned i = 0; i < 64; i++) {
		p[i] = t_malloc(pool, (size_t)i * 999 + 1);
		t_pattern_fill(p[i], (size_t)i * 999 + 1, i);
	}
	for (unsigned i = 0; i < 64; i++) {
		T_CHECK(t_pattern_check(p[i], (size_t)i * 999 + 1, i) == (size_t)i * 999 + 1);
		rdm_free(p[i]);
	}
}

static int inherited_pool(void *arg)
{
	struct rdm_audit audit = { .size = sizeof(audit) };
	struct rdm_key key;
	void *volatile none;

	(void)arg;
	T_FAILS(!(none = rdm_malloc(scene.pool, 100)), ECHILD);
	T_FAILS(!(none = rdm_calloc(scene.pool, 1, 100)), ECHILD);
	T_FAILS(!(none = rdm_aligned_alloc(scene.pool, 1024, 100)), ECHILD);
	T_FAILS(!(none = rdm_realloc(scene.pool, NULL, 100)), ECHILD);
	T_FAILS(rdm_pool_trim(scene.pool, 0) == -1, ECHILD);
	T_FAILS(rdm_pool_reserve(scene.pool, 64 * T_MIB) == -1, ECHILD);
	T_FAILS(rdm_pool_audit(scene.pool, &audit) == -1, ECHILD);
	T_FAILS(rdm_key(scene.block, 0, &key) == -1, ECHILD);
	T_CHECK(rdm_pool_of(scene.block + 99) == scene.pool);
	T_CHECK(rdm_usable_size(scene.block) >= block_size);
	rdm_free(scene.block);
	/* Freed is freed in the child too. */
	T_CHECK(!rdm_usable_size(scene.block) && errno == EINVAL);
	return T_PASS;
}

/* Raw calls: a sanitizer would look at each mapping. */
static int mapping_loop(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 200; i++) {
		uintptr_t p =
			(uintptr_t)syscall(SYS_mmap, NULL, 1024 * T_MIB, PROT_NONE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);

		T_CHECKF(p != (uintptr_t)MAP_FAILED, "mmap %u: %s", i, strerror(errno));
		T_CHECKF(p + 1024 * T_MIB <= scene.lo || scene.hi <= p,
			 "mapping %u at %p lies in the reserve", i, (void *)p);
	}
	rdm_free(scene.block);
	exercise(t_pool("after", RDM_BACKING_ANON, RDM_FORK_HOLE, 0, 0));
	return T_PASS;
}

static int freed_then_mapped(void *arg)
{
	rdm_free(scene.block);
	scene.block = NULL;
	return mapping_loop(arg);
}

static int new_pool(void *arg)
{
	struct t_recorder *recorder = t_recorder_new("child");
	rdm_pool *pool = t_pool("child", scene.backing, scene.policy, T_SLAB, 0);

	(void)arg;
	t_recorder_add(recorder, pool);
	exercise(pool);
	T_CHECK(!t_audit(pool));
	rdm_free(scene.block);
	exercise(pool);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	/* Only the parent may deregister what the parent registered. */
	T_CHECK(!scene.recorder->deregs);
	t_recorder_free(recorder);
	return T_PASS;
}

static int reset_pool(void *arg)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	struct t_recorder *recorder = t_recorder_new("child");

	(void)arg;
	T_CHECKF(!rdm_pool_reset(scene.pool), "rdm_pool_reset: %s", strerror(errno));
	T_CHECK(!rdm_pool_stats(scene.pool, &stats));
	T_CHECK(!stats.inherited && !stats.live_blocks && !stats.rails && !stats.slabs);
	T_CHECK(!rdm_pool_of(scene.block));
	exercise(scene.pool);
	t_recorder_add(recorder, scene.pool);
	exercise(scene.pool);
	T_CHECK(recorder->live && !t_audit(scene.pool));
	T_CHECK(!rdm_pool_destroy(scene.pool) && !recorder->live);
	T_CHECK(!scene.recorder->deregs);
	t_recorder_free(recorder);
	return T_PASS;
}

/* The first rail that a child adds takes the pool into use again, contents and all. */
static int adopted_pool(void *arg)
{
	struct t_recorder *recorder = t_recorder_new("child");
	struct rdm_stats stats = { .size = sizeof(stats) };
	struct rdm_key key;

	(void)arg;
	if (scene.backing != RDM_BACKING_ANON) {
		T_CHECK(rdm_pool_add_rail(scene.pool, &recorder->ops, recorder) == -1);
		t_recorder_free(recorder);
		return T_PASS;
	}
	T_CHECK(t_recorder_add(recorder, scene.pool) == 0);
	T_CHECK(!rdm_pool_stats(scene.pool, &stats) && !stats.inherited && stats.live_blocks == 1);
	T_CHECK(!rdm_key(scene.block + 5, 0, &key));
	T_CHECK(t_recorder_find(recorder, scene.block, block_size) == key.handle);
	if (scene.policy == RDM_FORK_COPY)
		T_CHECK(t_pattern_check(scene.block, block_size, 7) == block_size);
	else
		T_CHECK(t_is_byte(scene.block, block_size, 0));
	T_CHECK(!t_audit(scene.pool));
	exercise(scene.pool);
	rdm_free(scene.block);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !recorder->live);
	t_recorder_free(recorder);
	return T_PASS;
}

static void *thread_work(void *arg)
{
	for (unsigned i = 0; i < 50; i++)
		exercise(arg);
	return NULL;
}

static int threads(void *arg)
{
	rdm_pool *pool = t_pool("child", RDM_BACKING_ANON, scene.policy, T_SLAB, 0);
	pthread_t thread[3];

	(void)arg;
	for (unsigned i = 0; i < 3; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, thread_work, pool));
	rdm_free(scene.block);
	for (unsigned i = 0; i < 3; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

static int grandchildren(void *arg)
{
	uintptr_t depth = (uintptr_t)arg;

	if (depth)
		t_fork_passes(grandchildren, (void *)(depth - 1));
	t_fork_passes(inherited_pool, NULL);
	t_fork_passes(new_pool, NULL);
	t_fork_passes(reset_pool, NULL);
	return mapping_loop(NULL);
}

static int destroys(void *arg)
{
	(void)arg;
	T_FAILS(rdm_pool_destroy(scene.pool) == -1, EBUSY);
	rdm_free(scene.block);
	T_CHECKF(!rdm_pool_destroy(scene.pool), "destroy: %s", strerror(errno));
	return T_PASS;
}

static int executes(void *arg)
{
	(void)arg;
	execl("/proc/self/exe", "child", "exec", (char *)NULL);
	return T_FAIL;
}

static int exits(void *arg)
{
	(void)arg;
	rdm_free(scene.block);
	exit(T_PASS);
}

static void play(unsigned backing, unsigned policy)
{
	static const struct {
		const char *name;
		int (*run)(void *arg);
	} acts[] = {
		{ "inherited pool", inherited_pool },
		{ "mapping loop", mapping_loop },
		{ "freed, then mapped", freed_then_mapped },
		{ "new pool", new_pool },
		{ "reset pool", reset_pool },
		{ "adopted pool", adopted_pool },
		{ "threads", threads },
		{ "destroy", destroys },
		{ "exec", executes },
		{ "exit", exits },
	};

	scene.backing = backing;
	scene.policy = policy;
	scene.recorder = t_recorder_new("parent");
	scene.pool = t_pool("parent", scene.backing, policy, T_SLAB, 0);
	t_recorder_add(scene.recorder, scene.pool);
	scene.block = t_malloc(scene.pool, block_size);
	t_pattern_fill(scene.block, block_size, 7);
	t_reserve_of((uintptr_t)scene.block, &scene.lo, &scene.hi);
	for (unsigned i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		int status = t_fork(acts[i].run, NULL);

		T_CHECKF(!status, "%s, policy %u: status %#x", acts[i].name, policy, status);
		T_CHECK(t_pattern_check(scene.block, block_size, 7) == block_size);
		T_CHECK(!t_audit(scene.pool));
	}
	t_fork_passes(grandchildren, (void *)2);
	rdm_free(scene.block);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !scene.recorder->live);
	t_recorder_free(scene.recorder);
	t_say("%s, policy %u: the child is usable", t_backing_name(), policy);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "exec")) {
		exercise(t_pool("executed", RDM_BACKING_ANON, 0, 0, 0));
		return T_PASS;
	}
	return t_each_policy(play);
}
