/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: watch [--idle [PATTERN=]LOOKS]... [--cpu [PATTERN=]SECONDS]... COMMAND...
 *
 * Runs a test and ends it when it hangs. No clock on the wall can tell that: beside enough
 * other work any test takes any time. So watch looks, once a second, at the test and at all
 * that it has started. A look is idle if nothing of it is runnable and it has used less than
 * a tenth of a second of CPU time since the look before. What waits for the CPU is runnable;
 * what looks again and again for something that never comes is idle. The test hangs
 *
 *   after LOOKS idle looks (60); one that is not idle takes three back, and what waits for a
 *     disk or the like (state D) has ten times as many;
 *   when it has used SECONDS of CPU time (600).
 *
 * What is said last counts, of what has a PATTERN only if COMMAND fits it.
 * One line says who was there and where each of them waited. A test that passes and leaves
 * processes behind has failed. Exit status: the test's, 128 + N for signal N, 1 for a hang,
 * 99 if the test cannot be started. The last line is "watch: W s, CPU C s": what it took.
 */
#include "tree.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAIL = 1, CANNOT = 99 };
/* What a look adds, in tenths of an idle one. */
enum { IDLE = 10, BLOCKED = 1, RAN = -30 };

struct limits {
	double cpu;
	int idle;
};

static struct {
	const char *name;
	pid_t pid;
	bool ended;
	int status;
	double cpu; /* at the last look */
	int idle;
} test;
static sigset_t signals;
static int caught; /* the signal that ends us */

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* At once, and in one piece: the test writes to the same file. */
static void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	fflush(stdout);
}

static void note_state(const struct tree_task *thread, void *arg)
{
	int *look = arg;

	if (thread->state == 'R')
		*look = RAN;
	else if (thread->state == 'D' && *look == IDLE)
		*look = BLOCKED;
}

/* Whether the test, or what is left of it, is at the end of its time. */
static bool is_over(const struct limits *limits)
{
	double before = test.cpu;
	int look = IDLE;

	tree_find();
	test.cpu = tree_cpu();
	if (test.cpu - before >= 0.1)
		look = RAN;
	else
		tree_each(note_state, &look);
	test.idle = test.idle + look > 0 ? test.idle + look : 0;
	return test.cpu > limits->cpu || test.idle >= limits->idle;
}

static void complain(const struct limits *limits)
{
	if (test.cpu > limits->cpu)
		say("watch: %s has used more than %.0f s of CPU time: %s\n", test.name, limits->cpu,
		    tree_names());
	else
		say("watch: %s hangs, nothing ran in %d looks: %s\n", test.name,
		    limits->idle / IDLE, tree_names());
}

/* Whether there is anybody left: orphans are our children, too. */
static bool reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == test.pid) {
			test.ended = true;
			test.status = status;
		}
	return !pid;
}

/* Waits until something has ended or a second is over; true: it is time to look. */
static bool next_look(void)
{
	int signal = sigwaitinfo(&signals, NULL);

	reap();
	if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP)
		caught = signal;
	return signal == SIGALRM;
}

/* What is about to end has time to do so as long as it runs, unless a signal comes. */
static bool all_end(void)
{
	const struct limits limits = { .cpu = test.cpu + 10, .idle = 3 * IDLE };
	int before = caught;

	test.idle = 0;
	while (reap() && caught == before)
		if (next_look() && reap() && is_over(&limits))
			return false;
	return caught == before;
}

/* A shell that is asked may clean up behind it. */
static void end_all(void)
{
	unsigned looks = 0;

	tree_find();
	tree_kill(SIGTERM);
	tree_kill(SIGCONT);
	if (!all_end())
		for (; reap() && looks < 30; looks += next_look()) {
			tree_find();
			tree_kill(SIGKILL);
		}
	/* What has been waited for must not be counted twice. */
	tree_find();
}

static void start(char **argv)
{
	test.name = argv[0];
	test.pid = fork();
	if (test.pid < 0) {
		say("watch: fork: %s\n", strerror(errno));
		exit(CANNOT);
	}
	if (test.pid)
		return;
	setsid();
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	execvp(argv[0], argv);
	say("watch: %s: %s\n", argv[0], strerror(errno));
	_exit(CANNOT);
}

/* The exit status. */
static int watch(const struct limits *limits)
{
	while (!test.ended && !caught)
		if (next_look() && !test.ended && is_over(limits)) {
			complain(limits);
			return FAIL;
		}
	if (test.ended && WIFSIGNALED(test.status)) {
		say("watch: %s was ended by signal %d, %s\n", test.name, WTERMSIG(test.status),
		    strsignal(WTERMSIG(test.status)));
		return 128 + WTERMSIG(test.status);
	}
	if (test.ended && !test.status && !all_end() && !caught) {
		say("watch: %s has passed, and left behind: %s\n", test.name, tree_names());
		return FAIL;
	}
	return caught ? 128 + caught : WEXITSTATUS(test.status);
}

/* The command, or NULL if the options are wrong. */
static char **parse(char **argv, struct limits *limits)
{
	char **option = argv + 1, **command = option;

	*limits = (struct limits){ .cpu = 600, .idle = 60 * IDLE };
	while (*command && !strncmp(*command, "--", 2) && command[1])
		command += 2;
	for (; option < command; option += 2) {
		char *equals = strrchr(option[1], '=');
		const char *number = equals ? equals + 1 : option[1];
		bool fits = true;

		if (equals) {
			*equals = '\0';
			fits = *command && !fnmatch(option[1], *command, 0);
		}
		if (!strcmp(*option, "--idle"))
			limits->idle = fits ? atoi(number) * IDLE : limits->idle;
		else if (!strcmp(*option, "--cpu"))
			limits->cpu = fits ? atof(number) : limits->cpu;
		else
			return NULL;
	}
	return *command && limits->cpu > 0 && limits->idle > 0 ? command : NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* By whoever started us: nohup wants that SIGHUP ends nothing. */
static bool is_ignored(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) && action.sa_handler == SIG_IGN;
}

int main(int argc, char **argv)
{
	static const int taken[] = { SIGCHLD, SIGALRM, SIGINT, SIGTERM, SIGHUP };
	const struct itimerval second = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct limits limits;
	double began = now();
	int status;

	(void)argc;
	argv = parse(argv, &limits);
	if (!argv) {
		say("Usage: watch [--idle [PATTERN=]LOOKS]... [--cpu [PATTERN=]SECONDS]... "
		    "COMMAND...\n");
		return CANNOT;
	}
	/* Without these nobody could say how the test ended, or that it does not. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (!is_ignored(taken[i]))
			sigaddset(&signals, taken[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	/* Nor does the test outlive who wants to know how it ends. */
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	start(argv);
	setitimer(ITIMER_REAL, &second, NULL);
	status = watch(&limits);
	end_all();
	say("watch: %.2f s, CPU %.2f s\n", now() - began, tree_cpu());
	return status;
}
