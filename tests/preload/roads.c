/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * However a process makes another, the child has what is registered and a heap to go on with:
 * by fork(), _Fork(), clone() on a stack of its own, and by system calls; from a handler that
 * has interrupted fork(), in which the child goes on, too; and where there is no memory for
 * copies, what is freed of the holes is nobody's next block.
 */
#include "start.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

/* The C library's other name. NOLINTNEXTLINE(bugprone-reserved-identifier) */
int __clone(int (*function)(void *), void *stack, int flags, void *arg, ...);

static unsigned char *block;

/* As often as threads' caches would hide it if it came to nothing. */
static void use_heap(void)
{
	unsigned char *got[8];

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 8; i++) {
			got[i] = malloc((size_t)SIZE << i % 3);
			T_CHECK(got[i]);
			memset(got[i], 1, SIZE / 16);
		}
		for (unsigned i = 0; i < 8; i++)
			free(got[i]);
	}
}

static int run_child(void *arg)
{
	(void)arg;
	T_CHECK(t_pattern_check(block, SIZE, 1) == SIZE);
	use_heap();
	free(block);
	use_heap();
	_exit(T_PASS);
}

static pid_t by_fork(void)
{
	pid_t pid = fork();

	return pid ? pid : run_child(NULL);
}

static pid_t by_bare_fork(void)
{
	pid_t pid = _Fork();

	return pid ? pid : run_child(NULL);
}

static pid_t by_clone3(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	return pid ? pid : run_child(NULL);
}

static pid_t by_clone_call(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	return pid ? pid : run_child(NULL);
}

static _Alignas(64) char stack[256 << 10];

static pid_t by_clone(void)
{
	return clone(run_child, stack + sizeof(stack), SIGCHLD, NULL);
}

static pid_t by_other_clone(void)
{
	return __clone(run_child, stack + sizeof(stack), SIGCHLD, NULL);
}

static void check_end(const char *what, pid_t pid)
{
	int status;

	T_CHECKF(pid > 0, "%s: %s", what, strerror(errno));
	while (waitpid(pid, &status, 0) != pid)
		T_CHECK(errno == EINTR);
	T_CHECKF(!status, "%s: the child ended with %#x", what, status);
}

static void each_road(void)
{
	static const struct {
		const char *name;
		pid_t (*make)(void);
	} roads[] = {
		{ "fork", by_fork },     { "_Fork", by_bare_fork },
		{ "clone3", by_clone3 }, { "SYS_clone", by_clone_call },
		{ "clone", by_clone },   { "__clone", by_other_clone },
	};

	for (unsigned i = 0; i < sizeof(roads) / sizeof(roads[0]); i++) {
		pid_t pid = roads[i].make();

		if (pid < 0 && errno == ENOSYS) {
			t_say("SKIP: %s: this kernel has none", roads[i].name);
			continue;
		}
		check_end(roads[i].name, pid);
		T_CHECK(t_pattern_check(block, SIZE, 1) == SIZE);
	}
}

static volatile sig_atomic_t left, made_here, goes_on;

static void ended(int signal)
{
	int saved = errno;

	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
		if (left <= 0)
			continue;
		left--;
		made_here++;
		if (!fork()) {
			/* Every second one goes on where the signal came, which may be in fork(). */
			if (left % 2)
				run_child(NULL);
			goes_on = 1;
			left = 0;
			errno = saved;
			return;
		}
	}
	errno = saved;
}

static void from_handlers(void)
{
	struct sigaction action = { .sa_handler = ended, .sa_flags = SA_RESTART };
	const struct sigaction before = { .sa_handler = SIG_DFL };
	pid_t parent = getpid();

	left = t_quick() ? 100 : 500;
	T_CHECK(!sigaction(SIGCHLD, &action, NULL));
	while (left > 0) {
		pid_t pid;

		left--;
		pid = fork();
		if (!pid)
			run_child(NULL);
		if (goes_on)
			break;
	}
	T_CHECK(!sigaction(SIGCHLD, &before, NULL));
	if (getpid() != parent) {
		use_heap();
		_exit(T_PASS);
	}
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid < 0 && errno == ECHILD)
			break;
		T_CHECK(pid > 0 || errno == EINTR);
		T_CHECKF(pid < 0 || !status, "a child ended with %#x", status);
	}
	t_say("%d children from handlers", (int)made_here);
}

static size_t mapped(void)
{
	FILE *statm = fopen("/proc/self/statm", "r");
	size_t pages;

	T_CHECK(statm && fscanf(statm, "%zu", &pages) == 1 && !fclose(statm));
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The copies cannot be had; what comes later can. */
static void without_copies(void)
{
	struct rlimit before, none;
	pid_t pid;

	T_CHECK(!getrlimit(RLIMIT_AS, &before));
	none = before;
	none.rlim_cur = mapped() + 8 * T_MIB;
	T_CHECK(!setrlimit(RLIMIT_AS, &none));
	pid = fork();
	T_CHECK(pid >= 0);
	T_CHECK(!setrlimit(RLIMIT_AS, &before));
	if (!pid) {
		free(block);
		use_heap();
		_exit(T_PASS);
	}
	check_end("without copies", pid);
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, "magazine:4M");
	block = malloc(SIZE);
	T_CHECK(block);
	t_pattern_fill(block, SIZE, 1);
	t_dontfork(block, SIZE);
	use_heap();
	each_road();
	from_handlers();
	without_copies();
	t_dofork(block, SIZE);
	free(block);
	return T_PASS;
}
