/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under the preload, memory that a program registers is taken out of the fork and written:
 * a device sees what the parent writes while a child lives. The child has all that was there
 * at the fork, however it was made, and what it writes is its own.
 */
#include "start.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* A pipe holds sixteen pages. */
#define PINNED ((size_t)16 * 4096)
#define SIZE ((size_t)3 * T_MIB)

static unsigned char *make(uint64_t id)
{
	unsigned char *block = malloc(SIZE);

	T_CHECK(block);
	t_pattern_fill(block, SIZE, id);
	return block;
}

static void has(const unsigned char *block, size_t size, uint64_t id)
{
	size_t at = t_pattern_check(block, size, id);

	T_CHECKF(at == size, "%p: byte %zu of %zu is not what it was", (const void *)block, at,
		 size);
}

struct scene {
	unsigned char *block, *other;
	struct t_event ready, done;
};

/* Looks, writes, and lives until it may end. */
static void play_child(struct scene *scene)
{
	has(scene->block, SIZE, 1);
	has(scene->other, SIZE, 2);
	t_pattern_fill(scene->block, SIZE, 3);
	free(scene->other);
	scene->other = make(4);
	t_event_set(&scene->ready);
	t_event_wait(&scene->done);
	has(scene->block, SIZE, 3);
	has(scene->other, SIZE, 4);
	free(scene->block);
	free(scene->other);
}

typedef pid_t maker(struct scene *scene);

/* The parent writes while its device holds the pages and its child lives. */
static void coherent_beside(maker *make_child)
{
	static unsigned char seen[PINNED];
	struct scene scene = { .block = make(1), .other = make(2) };
	unsigned char *pinned = scene.block + T_MIB;
	struct t_pin pin;
	int status;
	pid_t pid;

	t_event_init(&scene.ready);
	t_event_init(&scene.done);
	t_dontfork(scene.block, SIZE);
	t_pin_take(&pin, pinned, PINNED);
	pid = make_child(&scene);
	T_CHECK(pid > 0);
	t_event_wait(&scene.ready);
	has(scene.block, SIZE, 1);
	has(scene.other, SIZE, 2);
	t_pattern_fill(pinned, PINNED, 5);
	t_pin_read(&pin, seen);
	T_CHECKF(t_pattern_check(seen, PINNED, 5) == PINNED,
		 "the device missed what the parent wrote while its child lived");
	t_event_set(&scene.done);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the child ended with %#x", status);
	t_dofork(scene.block, SIZE);
	free(scene.block);
	free(scene.other);
	t_event_destroy(&scene.ready);
	t_event_destroy(&scene.done);
}

static pid_t by_fork(struct scene *scene)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	play_child(scene);
	_exit(0);
}

static pid_t by_bare_fork(struct scene *scene)
{
	pid_t pid = _Fork();

	if (pid)
		return pid;
	play_child(scene);
	_exit(0);
}

static pid_t by_system_call(struct scene *scene)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid)
		return pid;
	play_child(scene);
	_exit(0);
}

static int run_child(void *arg)
{
	play_child(arg);
	return 0;
}

static char stack[256 * 1024];

static pid_t by_clone(struct scene *scene)
{
	return clone(run_child, stack + sizeof(stack), SIGCHLD, scene);
}

/* A page that was only read is the shared zero page before it is registered. */
static void never_written(void)
{
	static unsigned char seen[PINNED];
	unsigned char *block = calloc(1, SIZE);
	struct t_pin pin;

	T_CHECK(t_is_byte(block, PINNED, 0));
	t_dontfork(block, PINNED);
	t_pin_take(&pin, block, PINNED);
	t_pattern_fill(block, PINNED, 6);
	t_pin_read(&pin, seen);
	T_CHECKF(t_pattern_check(seen, PINNED, 6) == PINNED,
		 "the device missed what was written to a page that had only been read");
	t_dofork(block, PINNED);
	free(block);
}

static int live_until(void *arg)
{
	struct t_event *event = arg;

	t_event_set(&event[0]);
	t_event_wait(&event[1]);
	return T_PASS;
}

/* A page that a living child shares becomes the parent's own when it is registered. */
static void shared_with_a_child(void)
{
	static unsigned char seen[PINNED];
	unsigned char *block = make(7);
	struct t_event event[2];
	struct t_pin pin;
	int status;
	pid_t pid;

	t_event_init(&event[0]);
	t_event_init(&event[1]);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid)
		_exit(live_until(event));
	t_event_wait(&event[0]);
	t_dontfork(block, PINNED);
	t_pin_take(&pin, block, PINNED);
	t_pattern_fill(block, PINNED, 8);
	t_pin_read(&pin, seen);
	T_CHECKF(t_pattern_check(seen, PINNED, 8) == PINNED,
		 "the device missed what was written to a page that a child shared before");
	t_event_set(&event[1]);
	T_CHECK(waitpid(pid, &status, 0) == pid && !status);
	t_dofork(block, PINNED);
	free(block);
	t_event_destroy(&event[0]);
	t_event_destroy(&event[1]);
}

/* A block of that size where there was one before. */
static unsigned char *again(void *(*allocate)(size_t size), size_t size, uintptr_t before)
{
	unsigned char *block = allocate(size);

	T_CHECKF((uintptr_t)block == before, "the test expects the same block again");
	return block;
}

static void *zeroed(size_t size)
{
	return calloc(1, size);
}

/* A registration cache keeps what was freed: it stays where it is, and is nobody's to copy. */
static void freed_but_registered(void)
{
	static unsigned char seen[PINNED];
	const size_t size = 64 * T_MIB;
	unsigned char *block = malloc(size);
	uintptr_t before = (uintptr_t)block;
	struct t_pin pin;
	int status;
	pid_t pid;

	t_dontfork(block, size);
	t_pattern_fill(block, PINNED, 7);
	t_pin_take(&pin, block, PINNED);
	free(block);
	pid = fork();
	if (!pid)
		_exit(t_rss() > 40 * T_MIB);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the child got a copy of memory that nobody had allocated");
	block = again(malloc, size, before);
	t_pattern_fill(block, PINNED, 8);
	t_pin_read(&pin, seen);
	T_CHECKF(t_pattern_check(seen, PINNED, 8) == PINNED,
		 "registered pages were given back when they were freed");
	free(block);
	block = again(zeroed, size, before);
	T_CHECKF(t_is_byte(block, size, 0), "calloc() found what had been there");
	t_dofork(block, size);
	free(block);
}

/* What strangers say about registered pages does not reach them, or is put right by fork(). */
static void strangers(void)
{
	static unsigned char seen[PINNED];
	unsigned char *block = make(1);
	struct t_pin pin;
	int status;
	pid_t pid;

	t_dontfork(block, SIZE);
	t_pin_take(&pin, block, PINNED);
	T_CHECK(!madvise(block, PINNED, MADV_DOFORK));
	T_CHECK(!madvise(block, PINNED, MADV_DONTNEED));
	T_CHECKF(t_is_byte(block, PINNED, 0), "MADV_DONTNEED leaves zeros");
	T_CHECK(!syscall(SYS_madvise, block, PINNED, MADV_DOFORK));
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	t_pattern_fill(block, PINNED, 9);
	t_pin_read(&pin, seen);
	kill(pid, SIGKILL);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(t_pattern_check(seen, PINNED, 9) == PINNED,
		 "a stranger's madvise() moved a registered page");
	t_dofork(block, SIZE);
	free(block);
}

static int nested(void *arg)
{
	unsigned *depth = arg;
	unsigned char *block = make(*depth + 100);

	t_dontfork(block, SIZE);
	if ((*depth)--)
		t_fork_passes(nested, depth);
	has(block, SIZE, *depth + 101);
	t_dofork(block, SIZE);
	free(block);
	return T_PASS;
}

/* What is registered goes in and out again while other threads fork. */
static _Atomic(bool) stop;

static void *register_all_the_time(void *arg)
{
	uint64_t id = (uintptr_t)arg;

	while (!stop) {
		unsigned char *block = make(id);

		t_dontfork(block, SIZE);
		has(block, SIZE, id);
		t_dofork(block, SIZE);
		has(block, SIZE, id);
		free(block);
	}
	return NULL;
}

static int look(void *arg)
{
	has(arg, SIZE, 1);
	return T_PASS;
}

static void beside_threads(void)
{
	unsigned char *block = make(1);
	pthread_t thread[4];

	t_dontfork(block, SIZE);
	for (uintptr_t i = 0; i < 4; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, register_all_the_time, (void *)(i + 10)));
	for (unsigned i = 0; i < (t_quick() ? 20 : 100); i++)
		t_fork_passes(look, block);
	stop = true;
	for (unsigned i = 0; i < 4; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	t_dofork(block, SIZE);
	free(block);
}

/* A stack in registered memory: the child stands on it before it can have its copies. */
static ucontext_t back, inside;

static void fork_on_registered_stack(void)
{
	unsigned char local[8192];

	t_pattern_fill(local, sizeof(local), 11);
	t_dontfork(local, sizeof(local));
	for (unsigned i = 0; i < 3; i++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			has(local, sizeof(local), 11);
			_exit(0);
		}
		T_CHECK(waitpid(pid, &status, 0) == pid);
		T_CHECKF(!status, "the child on a registered stack ended with %#x", status);
	}
	t_dofork(local, sizeof(local));
	swapcontext(&inside, &back);
}

static void *sleep_on_registered_stack(void *arg)
{
	unsigned char local[4096];
	struct t_event *event = arg;

	t_dontfork(local, sizeof(local));
	free(malloc(100000));
	t_event_set(&event[0]);
	t_event_wait(&event[1]);
	t_dofork(local, sizeof(local));
	return NULL;
}

static void stacks(void)
{
	unsigned char *block = make(1);
	unsigned char *other = make(1), *kept = make(1);
	struct t_event event[2];
	pthread_attr_t attributes;
	pthread_t thread;

	T_CHECK(!getcontext(&inside));
	inside.uc_stack.ss_sp = block;
	inside.uc_stack.ss_size = SIZE;
	makecontext(&inside, fork_on_registered_stack, 0);
	T_CHECK(!swapcontext(&back, &inside));
	/* The whole of another thread's stack is registered. */
	t_event_init(&event[0]);
	t_event_init(&event[1]);
	T_CHECK(!pthread_attr_init(&attributes));
	T_CHECK(!pthread_attr_setstack(&attributes, other, SIZE));
	T_CHECK(!pthread_create(&thread, &attributes, sleep_on_registered_stack, event));
	t_event_wait(&event[0]);
	t_dontfork(other, SIZE);
	t_fork_passes(look, kept);
	t_event_set(&event[1]);
	T_CHECK(!pthread_join(thread, NULL));
	t_dofork(other, SIZE);
	free(other);
	free(block);
	free(kept);
}

int main(int argc, char **argv)
{
	unsigned depth = 10;

	(void)argc;
	t_preload(argv, true, NULL);
	coherent_beside(by_fork);
	coherent_beside(by_bare_fork);
	coherent_beside(by_system_call);
	coherent_beside(by_clone);
	never_written();
	shared_with_a_child();
	freed_but_registered();
	strangers();
	t_fork_passes(nested, &depth);
	stacks();
	beside_threads();
	return T_PASS;
}
