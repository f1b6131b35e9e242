/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that are cancelled while they allocate, in the preload: whoever comes next gets memory,
 * and children. Blocks are large, for the C library's own malloc makes no such promise.
 */
#include "start.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LARGE (64 << 10)

static sem_t begun;
static _Atomic unsigned rounds_begun; /* of the thread that will be cancelled */
static struct t_rng rng;

static void allocate(void)
{
	for (size_t size = LARGE; size < 4 * T_MIB; size *= 3) {
		void *block = malloc(size), *larger = realloc(block, 2 * size);
		void *zeros = calloc(2, size), *aligned = memalign(T_MIB, size);

		free(larger ? larger : block);
		free(zeros);
		free(aligned);
	}
}

static void *allocate_for_ever(void *arg)
{
	int before;

	sem_post(&begun);
	if (arg)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	for (;;) {
		atomic_fetch_add(&rounds_begun, 1);
		allocate();
		if (!arg)
			pthread_testcancel();
	}
	return NULL;
}

static void cancel_one(void *type)
{
	uint64_t spins = t_below(&rng, 1 << t_below(&rng, 16));
	unsigned at = 1 + (unsigned)t_below(&rng, 8);
	pthread_t thread;

	atomic_store(&rounds_begun, 0);
	T_CHECK(!pthread_create(&thread, NULL, allocate_for_ever, type));
	sem_wait(&begun);
	/* Where others have the CPUs it would be before it begins, most of the time. */
	while (atomic_load(&rounds_begun) < at)
		sched_yield();
	while (spins--)
		atomic_signal_fence(memory_order_seq_cst);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
}

static int child(void *arg)
{
	(void)arg;
	allocate();
	return T_PASS;
}

static void *fork_while_cancelled(void *arg)
{
	int end, before;
	pid_t pid;

	pthread_cancel(pthread_self());
	pid = fork();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	if (!pid)
		_exit(child(NULL));
	T_CHECK(pid > 0 && waitpid(pid, &end, 0) == pid && !end);
	*(bool *)arg = true;
	return NULL;
}

static void fork_once(void)
{
	bool returned = false;
	pthread_t thread;

	T_CHECK(!pthread_create(&thread, NULL, fork_while_cancelled, &returned));
	pthread_join(thread, NULL);
	T_CHECKF(returned, "a thread was cancelled inside fork()");
}

static atomic_bool stop;

/* Somebody for whom fork() has to wait, which it does where a thread can be cancelled. */
static void *allocate_beside(void *arg)
{
	while (!atomic_load(&stop))
		allocate();
	return arg;
}

static void run(const char *what, unsigned rounds)
{
	pthread_t beside;

	T_CHECK(!pthread_create(&beside, NULL, allocate_beside, NULL));
	for (unsigned i = 0; i < rounds; i++) {
		cancel_one(i % 2 ? &begun : NULL);
		allocate();
		fork_once();
		t_fork_passes(child, NULL);
	}
	atomic_store(&stop, true);
	pthread_join(beside, NULL);
	t_say("%s: %u threads were cancelled", what, rounds);
}

int main(int argc, char **argv)
{
	const char *policy = getenv("RDMALLOC_CONF");

	(void)argc;
	t_preload(argv, true, "preload_fork:copy,threshold:8K");
	sem_init(&begun, 0, 0);
	rng.state = t_seed();
	run(policy ? policy : "as it is", t_quick() ? 40 : 200);
	return T_PASS;
}
