/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: stacks [SCENE]
 *
 * Stacks that came from malloc, while something is registered: fork() from a thread and from
 * a coroutine on one, and while another thread lives on one. The child is on such a stack, and
 * glibc looks at the threads' records, before any fork handler runs. With the policy registered it
 * is as ever; with copy, which takes the whole pool out of the fork, each must fail.
 */
#include "start.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;

static const size_t size = 512 * 1024;

static int child(void *arg)
{
	unsigned char *block = malloc(size);

	(void)arg;
	T_CHECK(block);
	memset(block, 1, size);
	free(block);
	return T_PASS;
}

static void *fork_here(void *arg)
{
	(void)arg;
	t_fork_passes(child, NULL);
	return NULL;
}

static pthread_t start(void *stack, void *(*call)(void *), void *arg)
{
	pthread_attr_t attributes;
	pthread_t thread;

	T_CHECK(!pthread_attr_init(&attributes));
	T_CHECK(!pthread_attr_setstack(&attributes, stack, size));
	T_CHECK(!pthread_create(&thread, &attributes, call, arg));
	T_CHECK(!pthread_attr_destroy(&attributes));
	return thread;
}

static void from_a_thread(void *stack)
{
	T_CHECK(!pthread_join(start(stack, fork_here, NULL), NULL));
}

static ucontext_t back, inside;

static void run_coroutine(void)
{
	t_fork_passes(child, NULL);
	swapcontext(&inside, &back);
}

static void from_a_coroutine(void *stack)
{
	T_CHECK(!getcontext(&inside));
	inside.uc_stack.ss_sp = stack;
	inside.uc_stack.ss_size = size;
	makecontext(&inside, run_coroutine, 0);
	T_CHECK(!swapcontext(&back, &inside));
}

static void *wait_here(void *arg)
{
	struct t_event *event = arg;

	t_event_set(&event[0]);
	t_event_wait(&event[1]);
	return NULL;
}

static void beside_a_thread(void *stack)
{
	struct t_event event[2];
	pthread_t thread;

	t_event_init(&event[0]);
	t_event_init(&event[1]);
	thread = start(stack, wait_here, event);
	t_event_wait(&event[0]);
	t_fork_passes(child, NULL);
	t_event_set(&event[1]);
	T_CHECK(!pthread_join(thread, NULL));
}

static const struct {
	const char *name;
	void (*play)(void *stack);
} scenes[] = {
	{ "thread", from_a_thread },
	{ "coroutine", from_a_coroutine },
	{ "beside", beside_a_thread },
};
enum { SCENES = sizeof(scenes) / sizeof(scenes[0]) };

static void play(unsigned scene)
{
	void *stack = aligned_alloc(t_page(), size);
	unsigned char *registered = malloc(size);

	T_CHECK(stack && registered);
	t_dontfork(registered, size);
	scenes[scene].play(stack);
	t_dofork(registered, size);
	free(registered);
	free(stack);
}

/* A process of its own, with the policy copy. */
static int play_with_copy(unsigned scene)
{
	char *argv[] = { (char[]){ "stacks" }, strdup(scenes[scene].name), NULL };
	int status;
	pid_t pid;

	T_CHECK(!setenv("RDMALLOC_CONF", "preload_fork:copy", 1));
	T_CHECK(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ));
	T_CHECK(!unsetenv("RDMALLOC_CONF"));
	T_CHECK(waitpid(pid, &status, 0) == pid);
	free(argv[1]);
	return status;
}

int main(int argc, char **argv)
{
	t_preload(argv, false, NULL);
	for (unsigned i = 0; i < SCENES; i++)
		if (argc == 2 && !strcmp(argv[1], scenes[i].name)) {
			play(i);
			return T_PASS;
		}
	for (unsigned i = 0; i < SCENES; i++) {
		play(i);
		T_CHECKF(play_with_copy(i),
			 "%s: the policy copy does as well: why is there another?", scenes[i].name);
	}
	return T_PASS;
}
