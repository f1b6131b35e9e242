/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under the preload a program forks for hours: thousands of times while threads allocate and
 * register, children of children, and nothing hangs, grows or is left open. RDM_TEST_FULL: ten thousand times.
 */
#include "start.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8 };

static _Atomic(bool) stop, registers;

static void *work(void *arg)
{
	struct t_rng rng = { .state = (uintptr_t)arg };
	unsigned char *kept[16] = { NULL };

	while (!stop) {
		unsigned i = (unsigned)t_below(&rng, 16);
		size_t size = t_log_uniform(&rng, 16, T_MIB);

		free(kept[i]);
		kept[i] = malloc(size);
		T_CHECK(kept[i]);
		kept[i][size - 1] = 1;
		if (registers && size >= 16384 && !t_below(&rng, 8)) {
			t_dontfork(kept[i], size);
			kept[i][0] = 2;
			t_dofork(kept[i], size);
		}
	}
	for (unsigned i = 0; i < 16; i++)
		free(kept[i]);
	return NULL;
}

/* A child that uses the heap, at each size once. */
static void use_heap(void)
{
	for (size_t size = 64; size <= T_MIB; size *= 4) {
		unsigned char *block = malloc(size);

		T_CHECK(block);
		memset(block, 1, size);
		free(block);
	}
}

static void one_fork(void)
{
	int status;
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (!pid) {
		use_heap();
		_exit(0);
	}
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "a child ended with %#x", status);
}

static void many(unsigned forks, bool with_registrations)
{
	pthread_t thread[THREADS];
	size_t rss = 0, vmas = 0, fds = t_fds();

	stop = false;
	registers = with_registrations;
	for (uintptr_t i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, work, (void *)(i + 1)));
	for (unsigned i = 0; i < forks; i++) {
		one_fork();
		if (i == forks / 4) {
			rss = t_rss();
			vmas = t_vmas_total();
		}
	}
	t_say("%u forks: %zu MiB and %zu mappings after a quarter, %zu and %zu now", forks,
	      rss >> 20, vmas, t_rss() >> 20, t_vmas_total());
	/* What threads hold at the moment goes up and down. */
	T_CHECK(t_rss() < rss + 64 * T_MIB);
	T_CHECK(t_vmas_total() < vmas + 200);
	stop = true;
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	/* While they run one may just read a file of the kernel's. */
	T_CHECK(t_fds() == fds);
}

/* Each generation has something registered when it makes the next. */
static int generation(unsigned left)
{
	unsigned char *block = malloc(65536);
	int status = 0;
	pid_t pid;

	T_CHECK(block);
	t_pattern_fill(block, 65536, left);
	t_dontfork(block, 65536);
	if (!left)
		return 0;
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid) {
		T_CHECK(t_pattern_check(block, 65536, left) == 65536);
		free(block);
		_exit(generation(left - 1));
	}
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECK(t_pattern_check(block, 65536, left) == 65536);
	t_dofork(block, 65536);
	free(block);
	return status != 0;
}

int main(int argc, char **argv)
{
	bool quick = t_quick();
	/* Four minutes. */
	bool full = getenv("RDM_TEST_FULL");

	(void)argc;
	/* What threads keep must not hide what is lost. */
	t_preload(argv, false, "magazine:1M");
	many(full ? 10000 : quick ? 200 : 1000, false);
	many(full ? 500 : quick ? 20 : 100, true);
	/* It starts again in no child: the first one waits for them all. */
	T_CHECKF(!generation(quick ? 100 : 1000), "a child of a child failed");
	return T_PASS;
}
