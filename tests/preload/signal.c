/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A signal handler forks, wherever in malloc() or free() its thread was: the parent and
 * the child go on from there, as they do with glibc's malloc in a program of one thread.
 */
#include "start.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t children, failed, is_child;

static void set_timer(suseconds_t us)
{
	struct itimerval each = { .it_interval = { .tv_usec = us }, .it_value = { .tv_usec = us } };

	T_CHECK(!setitimer(ITIMER_PROF, &each, NULL));
}

static void fork_here(int signal)
{
	int saved = errno;
	int status;
	pid_t pid;

	(void)signal;
	if (is_child)
		return;
	pid = fork();
	if (!pid) {
		is_child = 1;
		set_timer(0);
		errno = saved;
		return;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	children++;
	failed += status != 0;
	errno = saved;
}

static void churn(struct t_rng *rng, unsigned steps)
{
	static unsigned char *kept[32];

	for (unsigned i = 0; i < steps; i++) {
		unsigned slot = (unsigned)t_below(rng, 32);
		size_t size = t_log_uniform(rng, 8192, 2 * T_MIB);

		free(kept[slot]);
		kept[slot] = malloc(size);
		T_CHECK(kept[slot]);
		kept[slot][size - 1] = 1;
		if (is_child && steps > 1000)
			return;
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = fork_here };
	struct t_rng rng;
	int wanted = t_quick() ? 200 : 1000;

	(void)argc;
	/* Each call goes all the way down. */
	t_preload(argv, true, "magazine:0");
	rng.state = t_seed();
	T_CHECK(!sigaction(SIGPROF, &action, NULL));
	set_timer(500);
	while (children < wanted && !is_child)
		churn(&rng, 10000);
	/* At exit others hold locks of their own: libnl's end waits for itself in a child. */
	set_timer(0);
	if (is_child) {
		churn(&rng, 200);
		_exit(T_PASS);
	}
	t_say("%d children", (int)children);
	T_CHECKF(!failed, "%d of %d children failed", (int)failed, (int)children);
	return T_PASS;
}
