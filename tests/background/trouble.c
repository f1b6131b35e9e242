/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A registrar that fails in the background thread, a pool that goes while it works
 * for it, a process that ends meanwhile, and a system that has no thread left.
 */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const size_t watermark = 4 * T_SLAB;
static const size_t half = T_SLAB / 2;

static atomic_bool no_threads;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
			  void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
			  void *arg)
{
	return no_threads ? EAGAIN : __real_pthread_create(thread, attributes, run, arg);
}

static void *next(rdm_pool *pool)
{
	void *block = rdm_malloc(pool, half);

	watch_settle(pool);
	return block;
}

/* It tries once, and again when a slab was made by somebody else. */
static int fail_in_background(void *arg)
{
	struct watch *watch = watch_new("failing");
	rdm_pool *pool = watch_pool(watch, watermark, 0);
	void *block[20];

	(void)arg;
	watch->fail_others = true;
	for (unsigned i = 0; i < 20; i++) {
		block[i] = next(pool);
		T_CHECK(block[i]);
		T_CHECKF(watch->own == i / 2 + 1 && watch->others == watch->own,
			 "block %u: %zu registrations, and %zu that failed", i, watch->own,
			 watch->others);
	}
	T_CHECK(t_stats(pool).background_growths == 0);
	watch->fail_others = false;
	T_CHECK(!rdm_pool_reserve(pool, t_stats(pool).slab_bytes + 1));
	for (unsigned i = 0; i < 20; i++)
		rdm_free(block[i]);
	T_CHECK(!rdm_pool_destroy(pool) && !watch->recorder->live);
	watch_free(watch);
	return T_PASS;
}

static int fail_for_all(void *arg)
{
	struct watch *watch = watch_new("failing");
	rdm_pool *pool = watch_pool(watch, watermark, 0);
	void *block[2];

	(void)arg;
	block[0] = next(pool);
	watch_settle(pool);
	T_CHECK(block[0] && !rdm_pool_trim(pool, 0) && t_stats(pool).slabs == 1);
	watch->fail_own = watch->fail_others = true;
	watch->others = 0;
	block[1] = next(pool);
	T_CHECK(block[1] && watch->others == 1);
	for (unsigned i = 0; i < 5; i++)
		T_FAILS(!next(pool), ENOSPC);
	T_CHECK(watch->others == 1 && watch->own == 6);
	watch->fail_own = watch->fail_others = false;
	rdm_free(block[0]);
	rdm_free(block[1]);
	T_CHECK(!rdm_pool_destroy(pool) && !watch->recorder->live);
	watch_free(watch);
	return T_PASS;
}

static void registrar_fails(void)
{
	struct t_caught caught;

	t_catch(&caught, fail_in_background, NULL);
	T_CHECKF(!caught.status && t_lines(caught.err) == 10, "status %#x: %s", caught.status,
		 caught.err);
	t_catch(&caught, fail_for_all, NULL);
	T_CHECKF(!caught.status && t_lines(caught.err) == 6, "status %#x: %s", caught.status,
		 caught.err);
}

static struct t_meeting meeting;
static struct t_event over;

static void meet(struct watch *watch)
{
	(void)watch;
	if (!meeting.armed)
		return;
	t_meeting_stay(&meeting);
	t_event_set(&over);
}

/* Whether we are here while the registrar is still at it. */
static bool overlapped(void)
{
	t_meeting_through(&meeting);
	t_event_wait(&over);
	return meeting.overtaken;
}

/* A pool whose background thread is in the registrar. */
static rdm_pool *busy_pool(struct watch *watch)
{
	rdm_pool *pool;

	t_meeting_init(&meeting);
	t_event_init(&over);
	watch->on_other = meet;
	pool = watch_pool(watch, 8 * T_SLAB, 0);
	rdm_free(t_malloc(pool, 1));
	t_meeting_come(&meeting);
	return pool;
}

static void destroy_while_busy(void)
{
	for (unsigned i = 0; i < 3; i++) {
		struct watch *watch = watch_new("brief"), *others = watch_new("other");
		rdm_pool *other = watch_pool(others, watermark, 0);
		rdm_pool *pool = busy_pool(watch);

		T_CHECK(!rdm_pool_destroy(pool));
		T_CHECK(!overlapped() && !watch->recorder->live);
		rdm_free(next(other));
		T_CHECK(others->others && !rdm_pool_destroy(other));
		watch_free(watch);
		watch_free(others);
		t_meeting_destroy(&meeting);
		t_event_destroy(&over);
	}
}

/* Whenever it comes. */
static void destroy_at_any_time(void)
{
	for (unsigned i = 0; i < (t_quick() ? 50 : 500); i++) {
		struct watch *watch = watch_new("brief");
		rdm_pool *pool = watch_pool(watch, 8 * T_SLAB, 0);

		rdm_free(t_malloc(pool, half));
		T_CHECK(!rdm_pool_destroy(pool) && !watch->recorder->live);
		watch_free(watch);
	}
}

static void leave(void)
{
	if (overlapped())
		_exit(T_FAIL);
}

/* One that is there to the end, for leak checkers as well. */
static struct watch *last_watch(void)
{
	static struct watch *volatile last;

	return last = watch_new("last");
}

/* A child returns from its function without. */
static int exit_normally(void)
{
	exit(T_PASS);
	return T_FAIL;
}

static int exit_while_busy(void *arg)
{
	(void)arg;
	/* As a destructor of what the registrar needs. */
	T_CHECK(!atexit(leave));
	return busy_pool(last_watch()) ? exit_normally() : T_FAIL;
}

static void exit_there(struct watch *watch)
{
	(void)watch;
	exit(T_PASS);
}

static int exit_in_registrar(void *arg)
{
	struct watch *watch = last_watch();

	(void)arg;
	watch->on_other = exit_there;
	t_malloc(watch_pool(watch, watermark, 0), 1);
	pause();
	return T_FAIL;
}

static int exit_afterwards(void *arg)
{
	struct watch *watch = last_watch();
	rdm_pool *pool = watch_pool(watch, watermark, 0);

	(void)arg;
	T_CHECK(next(pool) && watch->others);
	return exit_normally();
}

static int go_without(void *arg)
{
	struct watch *watch = watch_new("alone");
	rdm_pool *pool = watch_pool(watch, watermark, 0);
	void *block[20];
	size_t own;

	(void)arg;
	no_threads = true;
	for (unsigned i = 0; i < 10; i++)
		T_CHECK((block[i] = rdm_malloc(pool, half)));
	own = watch->own;
	T_CHECK(own == 5 && !watch->others);
	no_threads = false;
	/* The next slab is a reason to try again. */
	block[10] = next(pool);
	T_CHECK(block[10] && watch->others);
	for (unsigned i = 11; i < 20; i++)
		T_CHECK((block[i] = next(pool)));
	T_CHECK(watch->own == own + 1);
	for (unsigned i = 0; i < 20; i++)
		rdm_free(block[i]);
	T_CHECK(!rdm_pool_destroy(pool));
	watch_free(watch);
	return T_PASS;
}

static void end_passes(const char *what, int (*run)(void *))
{
	struct t_caught caught;

	t_say("%s", what);
	t_catch(&caught, run, NULL);
	/* A leak checker may have something to say of its own. */
	T_CHECKF(!caught.status && !strstr(caught.err, "rdmalloc: "), "status %#x: %s",
		 caught.status, caught.err);
}

int main(void)
{
	struct t_caught caught;

	registrar_fails();
	destroy_while_busy();
	destroy_at_any_time();
	end_passes("exit() waits for the slab under way", exit_while_busy);
	end_passes("exit() in the background thread", exit_in_registrar);
	end_passes("exit() while it sleeps", exit_afterwards);
	t_catch(&caught, go_without, NULL);
	t_caught_line(&caught, "background thread", NULL);
	return T_PASS;
}
