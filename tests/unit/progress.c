/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reserve of many steps says how far it is, can be stopped, and lets a fork()
 * that waits go before its next step. No memory is needed for that.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sync/fork_count.h"

enum { STEPS_AT_LEAST = 4 };

static const size_t total_bytes = 1100 * T_MIB;

static struct {
	rdm_pool *pool;
	pthread_t caller;
	unsigned calls, stop_at;
	size_t last;
	bool in_child;
} scene;

static int count(void *context, size_t done, size_t total)
{
	T_CHECK(context == &scene && total == total_bytes);
	T_CHECK(pthread_equal(pthread_self(), scene.caller));
	T_CHECK(done > scene.last && done <= total);
	scene.last = done;
	return ++scene.calls == scene.stop_at ? -1 : 0;
}

static int reserve(int (*progress)(void *context, size_t done, size_t total))
{
	scene.calls = 0;
	scene.last = 0;
	return rdm_pool_reserve_progress(scene.pool, total_bytes, progress, &scene);
}

static void begin(void)
{
	memset(&scene, 0, sizeof(scene));
	scene.pool = t_pool("progress", 0, 0, 0, 0);
	scene.caller = pthread_self();
}

static void end(void)
{
	T_CHECK(!rdm_pool_destroy(scene.pool));
}

static void tells(void)
{
	unsigned calls;

	begin();
	T_CHECK(!reserve(count));
	T_CHECK(scene.last == total_bytes && t_stats(scene.pool).slab_bytes >= total_bytes);
	calls = scene.calls;
	T_CHECKF(calls > STEPS_AT_LEAST, "%u calls", calls);
	/* Nothing is missing. */
	T_CHECK(!reserve(count) && scene.calls == 1 && scene.last == total_bytes);
	T_CHECK(!rdm_pool_trim(scene.pool, 0));
	T_CHECK(!reserve(NULL) && t_stats(scene.pool).slab_bytes >= total_bytes);
	end();
	/* It is too late to stop when all is there. */
	begin();
	scene.stop_at = calls;
	T_CHECK(!reserve(count) && scene.calls == calls);
	end();
}

static void stops(void)
{
	begin();
	for (scene.stop_at = 1; scene.stop_at < STEPS_AT_LEAST; scene.stop_at++) {
		T_FAILS(reserve(count) == -1, ECANCELED);
		T_CHECK(scene.calls == scene.stop_at);
		T_CHECK(t_stats(scene.pool).slab_bytes == scene.last);
		T_CHECK(!rdm_pool_trim(scene.pool, 0));
	}
	end();
}

/* In the child the reserve goes on with what is an inherited pool there. */
static int fork_once(void *context, size_t done, size_t total)
{
	int status;
	pid_t pid;

	count(context, done, total);
	if (scene.calls != 2)
		return 0;
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid) {
		scene.in_child = true;
		return 0;
	}
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the child ended with status %#x", status);
	return 0;
}

static void forks(void)
{
	int result;

	begin();
	errno = 0;
	result = reserve(fork_once);
	if (scene.in_child) {
		T_CHECK(result == -1 && errno == ECHILD && scene.calls == 2);
		_exit(T_PASS);
	}
	T_CHECK(!result && scene.last == total_bytes);
	end();
}

static int use_pool(void *context, size_t done, size_t total)
{
	void *block = t_malloc(scene.pool, 100);

	count(context, done, total);
	T_CHECK(t_stats(scene.pool).slab_bytes == done || done == total);
	T_CHECK(!rdm_pool_reserve(scene.pool, done));
	rdm_free(block);
	return 0;
}

static void allocates(void)
{
	begin();
	T_CHECK(!reserve(use_pool));
	end();
}

static struct {
	struct t_event go;
	_Atomic(pid_t) thread;
	_Atomic(bool) forking;
	uint64_t forks_before;
	bool asked, answered;
} turn;

static void on_prepare(void)
{
	turn.forking = true;
}

static int pass(void *arg)
{
	(void)arg;
	return T_PASS;
}

static void *forker(void *arg)
{
	(void)arg;
	turn.thread = (pid_t)syscall(SYS_gettid);
	t_event_wait(&turn.go);
	t_fork_passes(pass, NULL);
	return NULL;
}

static bool sleeps(pid_t thread)
{
	char path[64], stat[256], *name_end;
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)thread);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	T_CHECK(fd >= 0);
	got = read(fd, stat, sizeof(stat) - 1);
	close(fd);
	T_CHECK(got > 0);
	stat[got] = 0;
	name_end = strrchr(stat, ')');
	return name_end && !strncmp(name_end, ") S", 3);
}

/* One CPU for both, which whoever is woken has to wait for: the fairness is ours. */
static void share_cpu(pid_t thread)
{
	struct sched_param param = { 0 };
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	T_CHECK(!sched_setaffinity(0, sizeof(one), &one));
	T_CHECK(!sched_setaffinity(thread, sizeof(one), &one));
	T_CHECK(!sched_setscheduler(thread, SCHED_BATCH, &param));
}

/* The first step waits until a fork waits for it; the second is for that to find done. */
static void take_turns(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)recorder;
	(void)addr;
	(void)length;
	if (!scene.calls && !turn.asked) {
		turn.asked = true;
		t_event_set(&turn.go);
		while (!turn.forking || !sleeps(turn.thread))
			sched_yield();
		share_cpu(turn.thread);
	}
	if (scene.calls == 1 && !turn.answered) {
		turn.answered = true;
		T_CHECKF(rdm_fork_count() > turn.forks_before,
			 "fork() has to wait for more than a step");
	}
}

static void fork_goes_first(void)
{
	struct t_recorder *recorder = t_recorder_new("turns");
	cpu_set_t before;
	pthread_t thread;

	T_CHECK(!sched_getaffinity(0, sizeof(before), &before));
	memset(&turn, 0, sizeof(turn));
	t_event_init(&turn.go);
	begin();
	recorder->on_reg = take_turns;
	t_recorder_add(recorder, scene.pool);
	T_CHECK(!pthread_create(&thread, NULL, forker, NULL));
	while (!turn.thread)
		sched_yield();
	turn.forks_before = rdm_fork_count();
	T_CHECK(!reserve(count) && turn.asked && turn.answered);
	T_CHECK(!pthread_join(thread, NULL));
	T_CHECK(!sched_setaffinity(0, sizeof(before), &before));
	end();
	t_recorder_free(recorder);
	t_event_destroy(&turn.go);
}

int main(void)
{
	setenv("RDMALLOC_ABLATE", "write", 1);
	T_CHECK(!pthread_atfork(on_prepare, NULL, NULL));
	tells();
	stops();
	forks();
	allocates();
	for (unsigned i = 0; i < 5; i++)
		fork_goes_first();
	return T_PASS;
}
