/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What bench/run says to a worker, and what it answers, a line each; every
 * request may be answered by "none WHY":
 *
 *	(at the start)                  hello NAME WORK,WORK... VERSION
 *	set WORK SIZE THREADS SLABS     ok
 *	run OPERATIONS                  ns NANOSECONDS OPERATIONS
 *	count OPERATIONS                counted OPERATIONS
 *	unset                           ok
 *	live SIZE N                     live MADE VMAS REGIONS SLABS WHY
 *	quit
 *
 * count runs under callgrind only, which then writes a dump of that run alone.
 */
#include "config.h"

#include "worker.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#ifdef HAVE_VALGRIND_CALLGRIND_H
#include <valgrind/callgrind.h>
#endif

static const struct bench_subject *subject;
static const struct bench_work *work;
static struct bench_case the_case;
static char work_name[32];
static FILE *answers;

#define ANSWER(...) fprintf(answers, __VA_ARGS__)

static const struct bench_work *find_work(const char *name)
{
	for (const struct bench_work *w = subject->works; w->name; w++)
		if (!strcmp(w->name, name))
			return w;
	return NULL;
}

static void unset(void)
{
	if (!work)
		return;
	if (work->unset)
		work->unset(&the_case);
	if (subject->end_case)
		subject->end_case(&the_case);
	work = NULL;
}

static const char *set(const char *line)
{
	const struct bench_work *wanted;
	const char *why;

	unset();
	if (sscanf(line, "set %31s %zu %u %u", work_name, &the_case.size, &the_case.threads,
		   &the_case.slabs) != 4 ||
	    !the_case.threads)
		return "the request makes no sense";
	the_case.work = work_name;
	wanted = find_work(work_name);
	if (!wanted)
		return "it has no such operation";
	if (subject->begin_case) {
		why = subject->begin_case(&the_case);
		if (why)
			return why;
	}
	why = wanted->set ? wanted->set(&the_case) : NULL;
	if (!why)
		work = wanted;
	else if (subject->end_case)
		subject->end_case(&the_case);
	return why;
}

static const char *run(uint64_t operations, uint64_t *ns, uint64_t *done)
{
	*ns = *done = 0;
	return work ? work->run(&the_case, operations, ns, done) : "no case is set";
}

#ifdef HAVE_VALGRIND_CALLGRIND_H
static const char *count(uint64_t operations, uint64_t *done)
{
	const char *why;
	uint64_t ns;

	if (!RUNNING_ON_VALGRIND)
		return "it does not run under callgrind";
	/* Once without being counted: it fills the caches. */
	why = run(operations, &ns, done);
	if (why)
		return why;
	bench_warm = false;
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
	why = run(operations, &ns, done);
	CALLGRIND_DUMP_STATS;
	CALLGRIND_STOP_INSTRUMENTATION;
	bench_warm = true;
	return why;
}
#else
static const char *count(uint64_t operations, uint64_t *done)
{
	(void)operations;
	(void)done;
	return "built without valgrind/callgrind.h";
}
#endif

static void answer_live(size_t size, size_t n)
{
	struct bench_live live = { 0 };
	const char *why = subject->live ? subject->live(size, n, &live) : "it keeps no buffers";

	if (why)
		ANSWER("none %s\n", why);
	else
		ANSWER("live %zu %zu %zu %zu %s\n", live.made, live.vmas, live.regions, live.slabs,
		       live.why);
}

static bool answer(const char *line)
{
	uint64_t operations, ns, done;
	const char *why = "no such request";
	size_t size, n;

	if (!strncmp(line, "quit", 4))
		return false;
	if (sscanf(line, "live %zu %zu", &size, &n) == 2) {
		answer_live(size, n);
		return true;
	}
	if (!strncmp(line, "set ", 4)) {
		why = set(line);
		if (!why)
			ANSWER("ok\n");
	} else if (!strncmp(line, "unset", 5)) {
		unset();
		why = NULL;
		ANSWER("ok\n");
	} else if (sscanf(line, "run %" SCNu64, &operations) == 1) {
		why = run(operations, &ns, &done);
		if (!why)
			ANSWER("ns %" PRIu64 " %" PRIu64 "\n", ns, done);
	} else if (sscanf(line, "count %" SCNu64, &operations) == 1) {
		why = count(operations, &done);
		if (!why)
			ANSWER("counted %" PRIu64 "\n", done);
	}
	if (why)
		ANSWER("none %s\n", why);
	return true;
}

static void say_hello(void)
{
	ANSWER("hello %s ", subject->name);
	for (const struct bench_work *w = subject->works; w->name; w++)
		ANSWER("%s,", w->name);
	ANSWER("%s %s\n", subject->live ? "live" : "", subject->version());
}

int bench_main(const struct bench_subject *the_subject)
{
	char line[256];
	const char *why;
	int fd;

	subject = the_subject;
	/* A worker never outlives the driver. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Libraries print on stdout. */
	fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || !(answers = fdopen(fd, "w")))
		bench_die("stdout is not open");
	setvbuf(answers, NULL, _IOLBF, 0);
	bench_cpus_find();
	why = subject->open();
	if (why) {
		ANSWER("none %s\n", why);
		return 0;
	}
	say_hello();
	while (fgets(line, sizeof(line), stdin) && answer(line))
		;
	unset();
	return 0;
}
