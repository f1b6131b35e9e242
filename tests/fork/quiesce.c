/* SPDX-License-Identifier: BSD-2-Clause */
/* fork() waits for a registration and for a deregistration that are under way. */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 4 };

static struct t_meeting meeting;

static void meet(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)recorder;
	(void)addr;
	(void)length;
	t_meeting_stay(&meeting);
}

static void *grow(void *pool)
{
	rdm_free(t_malloc(pool, 3 * T_SLAB));
	return NULL;
}

static void *trim(void *pool)
{
	T_CHECK(!rdm_pool_trim(pool, 0));
	return NULL;
}

static int child(void)
{
	rdm_pool *pool;

	pool = t_pool("child", 0, 0, 0, 0);
	rdm_free(t_malloc(pool, 100));
	return T_PASS;
}

static void fork_during(const char *name, void *(*work)(void *), rdm_pool *pool)
{
	pthread_t thread;
	int status;
	pid_t pid;

	t_meeting_init(&meeting);
	T_CHECK(!pthread_create(&thread, NULL, work, pool));
	t_meeting_come(&meeting);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid)
		_exit(child());
	t_meeting_through(&meeting);
	T_CHECK(!pthread_join(thread, NULL));
	/* Then the child has inherited a lock that nobody will ever release. */
	if (meeting.overtaken)
		kill(pid, SIGKILL);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!meeting.overtaken, "fork() was over before a %s was", name);
	T_CHECKF(!status, "the child ended with status %#x", status);
	t_meeting_destroy(&meeting);
}

int main(void)
{
	struct t_recorder *recorder = t_recorder_new("meeting");
	rdm_pool *pool = t_pool("quiesce", 0, 0, T_SLAB, 0);

	recorder->on_reg = meet;
	recorder->on_dereg = meet;
	t_recorder_add(recorder, pool);
	for (unsigned i = 0; i < ROUNDS; i++) {
		fork_during("registration", grow, pool);
		fork_during("deregistration", trim, pool);
	}
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
	return T_PASS;
}
