/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that is not registered any more is inherited, whatever signal handler forked between the
 * first and the last instruction of its deregistration; and what is registered in the midst of
 * one is there too. Neither is a hole to a later child.
 */
#include "start.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 65536 };

static atomic_bool stop;
static volatile sig_atomic_t forks;
static unsigned char *block;
static pthread_t registrar;

static void reap(pid_t pid)
{
	int status;

	T_CHECK(pid > 0);
	while (waitpid(pid, &status, 0) != pid)
		T_CHECK(errno == EINTR);
	T_CHECKF(!status, "after %d forks by a handler a child ended with %#x", (int)forks, status);
}

static void touch_all(void)
{
	for (size_t i = 0; i < SIZE; i += 4096)
		if (block[i] != 1)
			_exit(T_FAIL);
}

static void fork_here(int signal)
{
	int saved = errno;
	pid_t pid = _Fork();

	(void)signal;
	if (!pid) {
		touch_all();
		_exit(T_PASS);
	}
	reap(pid);
	forks++;
	errno = saved;
}

static void *send_signals(void *arg)
{
	while (!stop) {
		int before = forks;

		T_CHECK(!pthread_kill(registrar, SIGUSR1));
		while (!stop && forks == before)
			sched_yield();
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
	pthread_t sender;
	int until;

	(void)argc;
	t_preload(argv, false, "preload_fork:registered");
	until = t_quick() ? 400 : 4000;
	block = malloc(SIZE);
	T_CHECK(block);
	memset(block, 1, SIZE);
	registrar = pthread_self();
	T_CHECK(!sigaction(SIGUSR1, &action, NULL));
	T_CHECK(!pthread_create(&sender, NULL, send_signals, NULL));
	while (forks < until) {
		int before = forks;

		while (forks == before) {
			t_dontfork(block, SIZE);
			t_dofork(block, SIZE);
		}
	}
	stop = true;
	T_CHECK(!pthread_join(sender, NULL));
	free(block);
	return T_PASS;
}
