/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork() waits for a slab that the background thread registers. The child has no
 * such thread; it starts its own for a pool that is new, reset or adopted.
 */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 3, BLOCKS = 40 };

static const size_t watermark = 4 * T_SLAB;

static struct t_meeting meeting;

static void meet(struct watch *watch)
{
	(void)watch;
	t_meeting_stay(&meeting);
}

static void allocate(rdm_pool *pool, unsigned n)
{
	void *block[BLOCKS];

	for (unsigned i = 0; i < n; i++) {
		watch_settle(pool);
		block[i] = t_malloc(pool, T_MIB / 2);
	}
	watch_settle(pool);
	for (unsigned i = 0; i < n; i++)
		rdm_free(block[i]);
}

static struct watch *helped(struct watch *watch, rdm_pool *pool, size_t own)
{
	allocate(pool, BLOCKS);
	T_CHECKF(watch->others, "no background thread has helped");
	T_CHECKF(watch->own <= own, "%zu slabs made by the thread that allocates", watch->own);
	return watch;
}

static void use_new_pool(void)
{
	struct watch *watch = watch_new("new in the child");
	rdm_pool *pool = watch_pool(watch, watermark, 0);

	helped(watch, pool, 1);
	T_CHECK(!rdm_pool_destroy(pool) && !watch->recorder->live);
	watch_free(watch);
}

static void use_inherited(rdm_pool *pool, bool reset, const char *block)
{
	struct watch *watch = watch_new("inherited");

	if (reset)
		T_CHECK(!rdm_pool_reset(pool));
	t_recorder_add(watch->recorder, pool);
	if (!reset)
		T_CHECKF(*block == 'b', "the block has not come along");
	/* Slabs that were adopted were registered by who added the rail. */
	watch->own = 0;
	helped(watch, pool, reset);
	T_CHECK(t_audit(pool) == 0);
	watch_free(watch);
}

static int child(unsigned round, rdm_pool *pool, char *block)
{
	T_CHECK(!rdm_malloc(pool, 1) && errno == ECHILD);
	if (round % 2) {
		struct rdm_stats before = t_stats(pool), after;

		use_new_pool();
		after = t_stats(pool);
		T_CHECKF(after.growths == before.growths, "an inherited pool has grown");
	}
	use_inherited(pool, round % 3, block);
	if (!(round % 2))
		use_new_pool();
	/* The exit handlers are part of it. */
	exit(T_PASS);
}

static void fork_while_busy(unsigned round)
{
	struct watch *watch = watch_new("parent");
	rdm_pool *pool;
	char *block;
	pid_t pid;
	int status;

	t_meeting_init(&meeting);
	watch->on_other = meet;
	pool = watch_pool(watch, watermark, 0);
	block = t_malloc(pool, T_MIB / 2);
	*block = 'b';
	t_meeting_come(&meeting);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid)
		child(round, pool, block);
	t_meeting_through(&meeting);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!meeting.overtaken, "fork() was over before a registration was");
	T_CHECKF(!status, "the child ended with status %#x", status);
	/* And the parent goes on. */
	helped(watch, pool, 1);
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool) && !watch->recorder->live);
	watch_free(watch);
	t_meeting_destroy(&meeting);
}

int main(void)
{
	for (unsigned round = 0; round < 2 * ROUNDS; round++)
		fork_while_busy(round);
	return T_PASS;
}
