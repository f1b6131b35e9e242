/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork() waits for a lock of stdio's while our handlers have closed the heaps. Whoever has that
 * lock allocates, frees, registers, starts threads and waits for their end all the same, and the child has
 * everything, what was registered meanwhile among it. Without this fork() would hang here.
 */
#include "start.h"

#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 20, KEPT = 16 };

static FILE *stream;
static unsigned char *kept[KEPT];
static unsigned char *early, *late;
static struct t_event may_flush, may_fork;
static atomic_bool flushing;

/* Has the list of all streams while it waits for one of them. */
static void *flush_all(void *arg)
{
	t_event_wait(&may_flush);
	flushing = true;
	T_CHECK(!fflush(NULL));
	return arg;
}

static void check_child(void)
{
	unsigned char *block;

	for (unsigned i = 1; i < KEPT; i += 2)
		T_CHECK(t_pattern_check(kept[i], SIZE, i) == SIZE);
	T_CHECK(t_pattern_check(early, SIZE, 100) == SIZE);
	T_CHECK(t_pattern_check(late, SIZE, 200) == SIZE);
	free(early);
	for (unsigned i = 0; i < KEPT; i++) {
		block = malloc(SIZE);
		T_CHECK(block);
		memset(block, 1, SIZE);
		free(block);
	}
}

static void *fork_once(void *arg)
{
	int status;
	pid_t pid;

	t_event_wait(&may_fork);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid) {
		check_child();
		_exit(T_PASS);
	}
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the child ended with %#x", status);
	return arg;
}

static bool is_in_pool(const void *block)
{
	size_t distance = (size_t)llabs((const char *)block - (const char *)kept[1]);

	return distance < (size_t)4096 * T_MIB;
}

/* A block comes from elsewhere once the heaps are closed. */
static void wait_until_it_forks(void)
{
	for (bool inside = true; inside;) {
		void *block = malloc(SIZE);

		T_CHECK(block);
		inside = is_in_pool(block);
		free(block);
		sched_yield();
	}
}

static void *use_and_end(void *arg)
{
	for (size_t size = 64; size <= SIZE; size *= 4) {
		unsigned char *block = malloc(size);

		T_CHECK(block);
		memset(block, 1, size);
		free(block);
	}
	free(kept[2]);
	return arg;
}

/* Each call comes to the closed heaps, for no thread keeps anything. */
static void do_all(void)
{
	unsigned char *block = NULL;
	pthread_t thread;
	void *aligned;

	free(kept[0]);
	T_CHECK(!pthread_create(&thread, NULL, use_and_end, NULL));
	T_CHECK(!pthread_join(thread, NULL));
	for (unsigned i = 4; i < KEPT; i += 2) {
		T_CHECK(malloc_usable_size(kept[i]) >= SIZE);
		kept[i] = realloc(kept[i], (size_t)SIZE * (i % 4 ? 2 : 1) + i);
		T_CHECK(kept[i] && t_pattern_check(kept[i], SIZE, i) == SIZE);
	}
	block = calloc(3, SIZE);
	T_CHECK(block && !block[0] && !block[(size_t)3 * SIZE - 1]);
	free(block);
	T_CHECK(!posix_memalign(&aligned, 65536, SIZE));
	free(aligned);
	t_dofork(early, SIZE);
	t_dontfork(late, SIZE);
}

static void case_of(void)
{
	pthread_t flusher, forker;

	t_event_init(&may_flush);
	t_event_init(&may_fork);
	stream = tmpfile();
	T_CHECK(stream);
	for (unsigned i = 0; i < KEPT; i++) {
		kept[i] = malloc(SIZE);
		T_CHECK(kept[i]);
		t_pattern_fill(kept[i], SIZE, i);
	}
	early = malloc(SIZE);
	late = malloc(SIZE);
	T_CHECK(early && late);
	t_pattern_fill(early, SIZE, 100);
	t_pattern_fill(late, SIZE, 200);
	t_dontfork(early, SIZE);
	T_CHECK(!pthread_create(&flusher, NULL, flush_all, NULL));
	T_CHECK(!pthread_create(&forker, NULL, fork_once, NULL));
	flockfile(stream);
	t_event_set(&may_flush);
	while (!flushing)
		sched_yield();
	t_event_set(&may_fork);
	wait_until_it_forks();
	do_all();
	funlockfile(stream);
	T_CHECK(!pthread_join(forker, NULL));
	T_CHECK(!pthread_join(flusher, NULL));
	t_dofork(late, SIZE);
	/* What was freed meanwhile is had again. */
	for (unsigned i = 0; i < 4 * KEPT; i++) {
		unsigned char *block = malloc(SIZE);

		T_CHECK(block && is_in_pool(block));
		free(block);
	}
	fclose(stream);
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, "magazine:0");
	case_of();
	return T_PASS;
}
