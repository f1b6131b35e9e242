/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child reads exactly what the pool's policy says, frees everything, and so
 * do its own children; the parent's contents stay. One program for each backing.
 */
#include "backing.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

enum { BLOCKS = 200, GENERATIONS = 3, THREADS = 2 };

struct scene {
	unsigned policy;
	rdm_pool *pool;
	struct t_recorder *recorder;
	unsigned char *block[BLOCKS];
	size_t size[BLOCKS];
};

static const char *const policy_name[] = {
	[RDM_FORK_HOLE] = "hole",
	[RDM_FORK_ZERO] = "zero",
	[RDM_FORK_COPY] = "copy",
};

static size_t block_size(unsigned i)
{
	static const size_t sizes[] = { 1, 63, 64, 200, 1000, 4000, 5000, 70000 };

	return i == 7 ? 3 * T_MIB + 5 : sizes[i % (sizeof(sizes) / sizeof(sizes[0]))] + i / 16;
}

struct part {
	struct scene *scene;
	unsigned first;
};

static void *allocate_part(void *arg)
{
	struct part *part = arg;
	struct scene *scene = part->scene;

	for (unsigned i = part->first; i < BLOCKS; i += THREADS) {
		scene->size[i] = block_size(i);
		scene->block[i] = t_malloc(scene->pool, scene->size[i]);
		t_pattern_fill(scene->block[i], scene->size[i], i);
	}
	return NULL;
}

/* Half of the blocks come from a thread that is gone when fork() runs. */
static void set_scene(struct scene *scene, unsigned backing, unsigned policy)
{
	struct part mine = { scene, 0 }, other = { scene, 1 };
	pthread_t thread;

	scene->policy = policy;
	scene->recorder = t_recorder_new("recorder");
	scene->pool = t_pool(policy_name[policy], backing, policy, T_SLAB, 0);
	t_recorder_add(scene->recorder, scene->pool);
	T_CHECK(!pthread_create(&thread, NULL, allocate_part, &other));
	allocate_part(&mine);
	T_CHECK(!pthread_join(thread, NULL));
	/* Freed holes between live blocks must not confuse the child. */
	for (unsigned i = 3; i < BLOCKS; i += 10) {
		rdm_free(scene->block[i]);
		scene->block[i] = NULL;
	}
}

static void expect_hole(const unsigned char *block, size_t size)
{
	const unsigned char *p = block;

	for (; p < block + size; p += t_page())
		T_CHECKF(t_faults(p, false), "%p of the block at %p can be read", (void *)p,
			 (void *)block);
	T_CHECK(t_faults(block + size - 1, true));
}

static void expect(struct scene *scene, unsigned i, unsigned generation)
{
	unsigned char *block = scene->block[i];
	size_t size = scene->size[i], same;
	uint64_t id = i + 1000 * generation;

	switch (scene->policy) {
	case RDM_FORK_HOLE:
		expect_hole(block, size);
		return;
	case RDM_FORK_ZERO:
		T_CHECKF(generation || t_is_byte(block, size, 0), "block %u is not zero", i);
		break;
	default:
		same = generation ? size : t_pattern_check(block, size, i);
		T_CHECKF(same == size, "block %u: byte %zu of %zu is not the parent's", i, same,
			 size);
	}
	/* What an ancestor in the child's line wrote is inherited as by any fork. */
	if (generation)
		T_CHECKF(t_pattern_check(block, size, id) == size,
			 "block %u in generation %u is not its parent's", i, generation);
	t_pattern_fill(block, size, i + 1000 * (generation + 1));
}

static void descend(struct scene *scene, unsigned generation)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	for (unsigned i = 0; i < BLOCKS; i++)
		if (scene->block[i])
			expect(scene, i, generation);
	T_CHECK(!rdm_pool_stats(scene->pool, &stats) && stats.inherited == 1);
	if (generation + 1 < GENERATIONS) {
		int status;
		pid_t pid = fork();

		T_CHECK(pid >= 0);
		if (!pid) {
			descend(scene, generation + 1);
			_exit(T_PASS);
		}
		T_CHECK(waitpid(pid, &status, 0) == pid && !status);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(scene->block[i]);
}

static int child(void *arg)
{
	descend(arg, 0);
	return T_PASS;
}

static void play(unsigned backing, unsigned policy)
{
	struct scene scene = { 0 };

	set_scene(&scene, backing, policy);
	for (unsigned round = 0; round < 3; round++) {
		t_fork_passes(child, &scene);
		T_CHECK(!t_audit(scene.pool));
		for (unsigned i = 0; i < BLOCKS; i++)
			T_CHECKF(!scene.block[i] || t_pattern_check(scene.block[i], scene.size[i],
								    i) == scene.size[i],
				 "block %u of the parent has changed", i);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(scene.block[i]);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !scene.recorder->live);
	t_recorder_free(scene.recorder);
	t_say("%s, %s: as promised", t_backing_name(), policy_name[policy]);
}

int main(void)
{
	return t_each_policy(play);
}
