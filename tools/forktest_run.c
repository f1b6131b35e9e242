/* SPDX-License-Identifier: BSD-2-Clause */
/* The processes that test. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forktest.h"
#include "output.h"
#include "traits.h"
#include "words.h"

/* One for the memory, one for each copy that a child has or causes, and some to spare. */
#define HUGETLB_PAGES 6

/* 0 or -1: *out says what is missing. */
static int need_backing(const char *backing, struct probe_outcome *out)
{
	char why[sizeof(out->reason)];

	if (!strcmp(backing, "thp") && probe_thp_is_off(why, sizeof(why)))
		return probe_skip(out, "%s", why);
	/* Not asked before each cell: what a device held comes back a moment later. */
	if (!strcmp(backing, "hugetlb") && probe_free_hugetlb() < HUGETLB_PAGES)
		return probe_skip(out,
				  "hugetlb: fewer than %d free pages of 2 MiB (--system "
				  "makes some)",
				  HUGETLB_PAGES);
	return 0;
}

static int need_engine(const struct forktest_engine *engine, struct probe_outcome *out)
{
	struct probe_device device;
	int ret = probe_device_open(&device, engine->engine, out);

	probe_device_close(&device);
	return ret;
}

static void test(struct forktest_cell *cell, size_t n, bool ours, int progress,
		 struct probe_words *words)
{
	struct probe_outcome no_engine[forktest_engine_count];
	struct probe_outcome no_backing[forktest_memory_count];

	memset(no_engine, 0, sizeof(no_engine));
	memset(no_backing, 0, sizeof(no_backing));
	for (size_t i = 0; i < forktest_engine_count; i++)
		need_engine(&forktest_engines[i], &no_engine[i]);
	for (size_t i = 0; i < forktest_memory_count; i++)
		need_backing(forktest_memories[i].backing, &no_backing[i]);
	for (size_t i = 0; i < n; i++) {
		const struct forktest_cell *c = &cell[i];
		const struct probe_outcome *engine = &no_engine[c->engine - forktest_engines];
		const struct probe_outcome *backing = &no_backing[c->memory - forktest_memories];

		if (c->memory->ours != ours)
			continue;
		if (engine->verdict != PROBE_COHERENT)
			cell[i].out = *engine;
		else if (backing->verdict != PROBE_COHERENT)
			cell[i].out = *backing;
		else
			probe_run(c->engine->engine, c->hazard->hazard, &c->memory->memory,
				  &cell[i].out);
		probe_words_take(words, &cell[i].out);
		cell[i].done = true;
		if (write(progress, "", 1) < 0)
			break;
	}
}

static _Noreturn void be_a_worker(struct forktest_cell *cell, size_t n, bool ours, int progress,
				  struct probe_words *words)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(words->file, STDERR_FILENO);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	/* They would do to plain memory what a pool does. */
	unsetenv("RDMAV_FORK_SAFE");
	unsetenv("IBV_FORK_SAFE");
	/* What it may not do then is skipped. */
	probe_enter_namespaces();
	test(cell, n, ours, progress, words);
	_exit(0);
}

/* Until the worker is gone. */
static void watch(int progress, struct bar *bar, size_t *done, size_t n, const volatile int *stop)
{
	char bytes[256];

	while (!*stop) {
		ssize_t got = read(progress, bytes, sizeof(bytes));

		if (!got || (got < 0 && errno != EINTR))
			return;
		*done += got > 0 ? (size_t)got : 0;
		bar_step(bar, *done, n);
	}
}

static void blame(struct forktest_cell *cell, size_t n, bool ours, const char *what, int number)
{
	for (size_t i = 0; i < n; i++)
		if (cell[i].memory->ours == ours && !cell[i].done)
			probe_broken(&cell[i].out, "%s %d", what, number);
}

static void run_worker(struct forktest_cell *cell, size_t n, bool ours, struct bar *bar,
		       size_t *done, const volatile int *stop)
{
	struct probe_words words;
	int status = 0;
	int progress[2];
	pid_t pid;

	probe_words_open(&words);
	if (pipe(progress)) {
		blame(cell, n, ours, "pipe: error", errno);
		probe_words_end(&words);
		return;
	}
	pid = fork();
	if (!pid) {
		close(progress[0]);
		be_a_worker(cell, n, ours, progress[1], &words);
	}
	close(progress[1]);
	if (pid > 0) {
		watch(progress[0], bar, done, n, stop);
		if (*stop)
			kill(pid, SIGKILL);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		blame(cell, n, ours, "the process that tests ended with status", status);
	} else {
		blame(cell, n, ours, "fork: error", errno);
	}
	close(progress[0]);
	probe_words_end(&words);
}

bool forktest_run(struct forktest_cell *cell, size_t n, const volatile int *stop)
{
	struct bar bar;
	size_t done = 0;

	bar_begin(&bar, "forktest");
	/* A pool may call ibv_fork_init(), and then no registration is like a plain one. */
	for (int ours = 0; ours < 2 && !*stop; ours++)
		run_worker(cell, n, ours, &bar, &done, stop);
	bar_end(&bar);
	return !*stop;
}
