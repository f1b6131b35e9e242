/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of a stack malloc takes: a painted one is looked at after each call, the first of a
 * process and a later one. Programs have threads with PTHREAD_STACK_MIN, coroutines and signal
 * stacks, on which glibc's malloc works.
 */
#include "start.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK = 256 << 10, MOST = 4096, PAINT = 0xa5 };

static ucontext_t outside, inside;
static unsigned char *stack;
static size_t size;
static void (*call)(void);
static void *block;

static void do_malloc(void)
{
	block = malloc(size);
}

static void do_calloc(void)
{
	block = calloc(1, size);
}

static void do_realloc(void)
{
	block = realloc(block, 3 * size);
}

static void do_align(void)
{
	block = memalign(65536, size);
}

static void do_free(void)
{
	free(block);
	block = NULL;
}

static void do_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

/* Alone on it but for the call. */
static void stand(void)
{
	call();
}

/* The lowest byte that is not painted any more says it. */
static size_t depth_of(void (*function)(void))
{
	size_t untouched = 0;

	memset(stack, PAINT, STACK);
	call = function;
	T_CHECK(!getcontext(&inside));
	inside.uc_stack.ss_sp = stack;
	inside.uc_stack.ss_size = STACK;
	inside.uc_link = &outside;
	makecontext(&inside, stand, 0);
	T_CHECK(!swapcontext(&outside, &inside));
	while (untouched < STACK && stack[untouched] == PAINT)
		untouched++;
	return STACK - untouched;
}

static const struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{ "malloc", do_malloc },   { "free", do_free },          { "calloc", do_calloc },
	{ "realloc", do_realloc }, { "free again", do_free },    { "memalign", do_align },
	{ "fork", do_fork },       { "free after it", do_free },
};

/* A vfprintf() of the C library's alone may be deeper: a fork has what other handlers take. */
static size_t most(const char *name)
{
	return strcmp(name, "fork") ? MOST : 2 * MOST;
}

static void measure(const char *first)
{
	static const size_t sizes[] = { 100, 9000, 100000, 700000, 2 * T_MIB, 40 * T_MIB };

	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	T_CHECK(stack != MAP_FAILED);
	/* The dynamic linker's part of first calls is none of ours. */
	size = 10;
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		depth_of(calls[i].call);
	/* Each of a process's own first large block. */
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < 6; i++) {
			size = sizes[(i + (unsigned)atoi(first)) % 6];
			for (unsigned j = 0; j < sizeof(calls) / sizeof(calls[0]); j++) {
				size_t depth = depth_of(calls[j].call);

				T_CHECKF(depth <= most(calls[j].name),
					 "%s of %zu bytes takes %zu of the stack", calls[j].name,
					 size, depth);
			}
		}
}

int main(int argc, char **argv)
{
	static const char *const confs[] = { "log:warn", "threshold:0", "preload_fork:copy",
					     "report:1" };

	if (argc > 1) {
		measure(argv[1]);
		exit(0);
	}
	t_preload(argv, false, NULL);
	for (unsigned i = 0; i < 4; i++)
		for (char first[] = "0"; *first < '6'; ++*first)
			t_run(argv, first, confs[i]);
	return T_PASS;
}
