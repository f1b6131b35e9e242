/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A registered buffer in a frame of a stack that came from malloc, of a thread or a coroutine, small
 * among others or large: the device sees what the parent writes while a child lives, whoever makes
 * the child, by whatever call, and the child has what was there.
 */
#include "start.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* A pipe holds sixteen pages. */
enum { LARGE = 8 * 4096, SMALL = 1000 };

static pid_t by_system_call(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static const struct way {
	const char *name;
	pid_t (*make)(void);
} ways[] = {
	{ "fork()", fork },
	{ "_Fork()", _Fork },
	{ "syscall(SYS_clone)", by_system_call },
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static struct scene {
	const char *where;
	const struct way *way;
	bool beside; /* another thread makes the child */
	unsigned char *buffer;
	size_t size;
	struct t_event stands, over;
} scene;

static void live(struct t_event *ready, struct t_event *done)
{
	if (t_pattern_check(scene.buffer, scene.size, 1) != scene.size)
		_exit(T_FAIL);
	t_event_set(ready);
	t_event_wait(done);
	_exit(t_pattern_check(scene.buffer, scene.size, 1) == scene.size ? T_PASS : T_FAIL);
}

static void make_child(void)
{
	static unsigned char seen[LARGE];
	struct t_event ready, done;
	struct t_pin pin;
	int status;
	pid_t pid;

	t_event_init(&ready);
	t_event_init(&done);
	t_pin_take(&pin, scene.buffer, scene.size);
	pid = scene.way->make();
	if (!pid)
		live(&ready, &done);
	T_CHECK(pid > 0);
	t_event_wait(&ready);
	t_pattern_fill(scene.buffer, scene.size, 2);
	t_event_set(&done);
	t_pin_read(&pin, seen);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "%s, %zu bytes, %s: the child ended with %#x", scene.where, scene.size,
		 scene.way->name, (unsigned)status);
	T_CHECKF(t_pattern_check(seen, scene.size, 2) == scene.size,
		 "%s, %zu bytes, %s%s: the device missed what the parent wrote", scene.where,
		 scene.size, scene.way->name, scene.beside ? " by another thread" : "");
	t_event_destroy(&ready);
	t_event_destroy(&done);
}

static void play(unsigned char *buffer, size_t size)
{
	scene.buffer = buffer;
	scene.size = size;
	t_pattern_fill(buffer, size, 1);
	t_dontfork(buffer, size);
	if (scene.beside) {
		t_event_set(&scene.stands);
		t_event_wait(&scene.over);
	} else {
		make_child();
	}
	t_dofork(buffer, size);
}

static void *in_a_small_frame(void *arg)
{
	unsigned char local[SMALL];

	play(local, sizeof(local));
	return arg;
}

static void *in_a_large_frame(void *arg)
{
	unsigned char local[LARGE];

	play(local, sizeof(local));
	return arg;
}

typedef void *frame(void *arg);
static frame *const frames[] = { in_a_small_frame, in_a_large_frame };

static void on_a_thread(char *stack, size_t size, frame *call)
{
	pthread_attr_t attributes;
	pthread_t thread;

	T_CHECK(!pthread_attr_init(&attributes));
	T_CHECK(!pthread_attr_setstack(&attributes, stack, size));
	t_event_init(&scene.stands);
	t_event_init(&scene.over);
	T_CHECK(!pthread_create(&thread, &attributes, call, NULL));
	if (scene.beside) {
		t_event_wait(&scene.stands);
		make_child();
		t_event_set(&scene.over);
	}
	T_CHECK(!pthread_join(thread, NULL));
	T_CHECK(!pthread_attr_destroy(&attributes));
	t_event_destroy(&scene.stands);
	t_event_destroy(&scene.over);
}

static ucontext_t back, inside;
static frame *wanted;

static void run_coroutine(void)
{
	wanted(NULL);
	swapcontext(&inside, &back);
}

static void on_a_coroutine(char *stack, size_t size, frame *call)
{
	wanted = call;
	T_CHECK(!getcontext(&inside));
	inside.uc_stack.ss_sp = stack;
	inside.uc_stack.ss_size = size;
	makecontext(&inside, run_coroutine, 0);
	T_CHECK(!swapcontext(&back, &inside));
}

int main(int argc, char **argv)
{
	/* Ends of stacks are wherever in a page. */
	static const size_t sizes[] = { 64 << 10, 100000, 512 << 10, 2000048 };
	unsigned scenes = 0;

	(void)argc;
	t_preload(argv, true, NULL);
	for (unsigned i = 0; i < 3 * sizeof(sizes) / sizeof(sizes[0]) * WAYS * 2; i++) {
		size_t size = sizes[i / 6 / WAYS];
		frame *call = frames[i % 2];
		char *stack = aligned_alloc(64, size);

		T_CHECK(stack);
		scene.way = &ways[i / 2 % WAYS];
		scene.beside = i / 2 / WAYS % 3 == 1;
		if (i / 2 / WAYS % 3 < 2) {
			scene.where = "on a thread's stack";
			on_a_thread(stack, size & ~(size_t)63, call);
		} else {
			scene.where = "on a coroutine's stack";
			on_a_coroutine(stack, size & ~(size_t)63, call);
		}
		free(stack);
		scenes++;
	}
	t_say("%u scenes", scenes);
	return T_PASS;
}
