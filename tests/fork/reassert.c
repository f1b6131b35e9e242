/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stranger (such as a deregistration of its own by another library) undoes
 * MADV_DONTFORK on slabs before a fork: the fork is as safe as ever.
 */
#include "support.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct scene {
	unsigned char *block;
	size_t size;
	struct t_event written;
};

static int child(struct scene *scene)
{
	for (unsigned char *p = scene->block; p < scene->block + scene->size; p += t_page())
		T_CHECKF(t_faults(p, false), "%p was inherited", (void *)p);
	t_event_wait(&scene->written);
	return T_PASS;
}

static void round_of(rdm_pool *pool, struct scene *scene, void *base, size_t length, unsigned n)
{
	unsigned char *last = scene->block + scene->size - 1, seen;
	struct t_pin pin;
	int status;
	pid_t pid;

	*last = 1;
	t_pin_take(&pin, last, 1);
	T_CHECK(!madvise(base, length, MADV_DOFORK));
	t_event_init(&scene->written);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid)
		_exit(child(scene));
	T_CHECKF(!t_audit(pool), "round %u: the audit after the fork", n);
	*last = 2;
	t_pin_read(&pin, &seen);
	T_CHECKF(seen == 2, "round %u: who held the page sees the old byte", n);
	t_event_set(&scene->written);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the child ended with status %#x", status);
	t_event_destroy(&scene->written);
}

int main(void)
{
	struct scene scene = { .size = 3 * 65536 };
	struct t_recorder *recorder = t_recorder_new("recorder");
	rdm_pool *pool = t_pool("reassert", RDM_BACKING_ANON, RDM_FORK_HOLE, 2 * T_SLAB, 0);
	struct rdm_key key;
	int rail;

	rail = t_recorder_add(recorder, pool);
	scene.block = t_malloc(pool, scene.size);
	T_CHECK(!rdm_key(scene.block, rail, &key));
	for (unsigned i = 0; i < 5; i++)
		round_of(pool, &scene, key.base, key.length, i);
	/* And only the pages of the block. */
	for (unsigned i = 0; i < 5; i++)
		round_of(pool, &scene, scene.block, scene.size, i);
	rdm_free(scene.block);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
	return T_PASS;
}
