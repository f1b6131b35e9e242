/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that are cancelled, or end, in the midst of a call: no lock of the library's may stay
 * behind, which everybody would wait for. A registrar is here the cancellation point that every
 * call comes to.
 */
#include "support.h"

#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static rdm_pool *pool;
static struct t_recorder *first, *second;
/* Of pools that threads make, and leave behind when they are cancelled. */
static struct t_recorder *stray;
/* Whether the registrars are as much of a nuisance as they can be. */
static _Atomic(bool) armed;
/* Whether a thread's call has returned. */
static _Atomic(bool) returned;

/* Every one of these is a cancellation point. */
static void pass_points(struct t_recorder *recorder, void *addr, size_t length)
{
	static const struct timespec nothing;

	(void)recorder;
	(void)addr;
	(void)length;
	if (!armed)
		return;
	nanosleep(&nothing, NULL);
	pthread_testcancel();
}

/* On a thread of the library's this asks for the end of that one. */
static void cancel_caller(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)recorder;
	(void)addr;
	(void)length;
	if (!armed)
		return;
	pthread_cancel(pthread_self());
	pthread_testcancel();
}

static int set_up(void **state)
{
	(void)state;
	first = t_recorder_new("first");
	second = t_recorder_new("second");
	if (!stray)
		stray = t_recorder_new("stray");
	first->on_reg = first->on_dereg = second->on_reg = second->on_dereg = pass_points;
	stray->on_reg = stray->on_dereg = pass_points;
	pool = t_pool("cancel", 0, RDM_FORK_COPY, T_SLAB, 0);
	t_recorder_add(first, pool);
	armed = returned = false;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	armed = false;
	first->fail_reg = first->fail_dereg = 0;
	assert_int_equal(rdm_pool_reset(pool), 0);
	assert_int_equal(rdm_pool_destroy(pool), 0);
	assert_int_equal(first->live, 0);
	assert_int_equal(second->live, 0);
	t_recorder_free(first);
	t_recorder_free(second);
	return 0;
}

/* What the library's functions need to have something to do. */
static void grow(void)
{
	void *block = rdm_malloc(pool, 2 * T_SLAB);

	if (block)
		rdm_free(block);
}

static void fail_to_grow(void)
{
	first->fail_reg = 1;
	first->fail_errno = ENOMEM;
	grow();
}

static void resize(void)
{
	void *block = rdm_malloc(pool, 100), *larger = rdm_realloc(pool, block, 3 * T_SLAB);

	rdm_free(larger ? larger : block);
}

static void zero(void)
{
	rdm_free(rdm_calloc(pool, 2, T_SLAB));
}

static void align(void)
{
	void *block = rdm_aligned_alloc(pool, T_SLAB, T_SLAB);

	if (block)
		rdm_free_sized(block, T_SLAB);
}

static void trim(void)
{
	rdm_free(rdm_malloc(pool, T_SLAB));
	rdm_pool_trim(pool, 0);
}

static void fail_to_trim(void)
{
	first->fail_dereg = 1;
	trim();
}

static void reserve(void)
{
	rdm_pool_reserve(pool, 8 * T_SLAB);
}

static void audit(void)
{
	struct rdm_audit found = { .size = sizeof(found) };

	rdm_pool_audit(pool, &found);
}

static void statistics(void)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	rdm_pool_stats(pool, &stats);
}

static void add_and_remove_rail(void)
{
	int rail = rdm_pool_add_rail(pool, &second->ops, second);

	if (rail >= 0)
		rdm_pool_remove_rail(pool, rail);
}

static void create_and_destroy(void)
{
	rdm_pool *other = rdm_pool_create(NULL);

	if (!other)
		return;
	if (rdm_pool_add_rail(other, &stray->ops, stray) >= 0)
		rdm_free(rdm_malloc(other, T_SLAB));
	rdm_pool_destroy(other);
}

static void reset(void)
{
	rdm_pool_reset(pool);
}

static void describe(void)
{
	char text[4096];

	(void)!rdm_regions_export(pool, 0, text, sizeof(text));
}

static void flush(void)
{
	t_malloc_and_free(pool, 300, 100);
	rdm_thread_flush();
}

static void be_refused(void)
{
	volatile size_t three = 3;
	void *volatile none = rdm_aligned_alloc(pool, three, 1);

	(void)none;
	rdm_pool_remove_rail(pool, 7);
	rdm_pool_reserve(pool, SIZE_MAX / 2);
}

static int look_in_child(void)
{
	void *block;

	T_CHECK(!rdm_pool_reset(pool));
	block = rdm_malloc(pool, T_SLAB);
	T_CHECK(block);
	rdm_free(block);
	return T_PASS;
}

/* The test's own waiting is a cancellation point. */
static void make_child(void)
{
	int end, before;
	pid_t pid = fork();

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	if (!pid)
		_exit(look_in_child());
	T_CHECK(pid > 0 && waitpid(pid, &end, 0) == pid);
	T_CHECK(WIFEXITED(end) && !WEXITSTATUS(end));
	pthread_setcancelstate(before, NULL);
}

static const struct call {
	const char *name;
	void (*run)(void);
} calls[] = {
	{ "rdm_malloc", grow },
	{ "rdm_malloc, refused by a rail", fail_to_grow },
	{ "rdm_realloc", resize },
	{ "rdm_calloc", zero },
	{ "rdm_aligned_alloc", align },
	{ "rdm_pool_trim", trim },
	{ "rdm_pool_trim, refused by a rail", fail_to_trim },
	{ "rdm_pool_reserve", reserve },
	{ "rdm_pool_audit", audit },
	{ "rdm_pool_stats", statistics },
	{ "rdm_pool_add_rail", add_and_remove_rail },
	{ "rdm_pool_create", create_and_destroy },
	{ "rdm_pool_reset", reset },
	{ "rdm_regions_export", describe },
	{ "rdm_thread_flush", flush },
	{ "what is refused", be_refused },
	{ "fork", make_child },
};
enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

/* In a thread that ends sooner or later. */
static void *call_while_cancelled(void *arg)
{
	const struct call *call = arg;

	pthread_cancel(pthread_self());
	call->run();
	returned = true;
	pthread_testcancel();
	return NULL;
}

/* Whoever comes next gets through. */
static void all_goes_on(void)
{
	armed = false;
	if (!t_stats(pool).rails)
		t_recorder_add(first, pool);
	first->fail_reg = first->fail_dereg = 0;
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	grow();
	assert_int_equal(t_audit(pool), 0);
	make_child();
}

static void no_point_inside(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CALLS; i++) {
		pthread_t thread;
		void *result;

		returned = false;
		armed = true;
		assert_int_equal(pthread_create(&thread, NULL, call_while_cancelled,
						(void *)(uintptr_t)&calls[i]),
				 0);
		pthread_join(thread, &result);
		/* Before whoever comes next waits for ever. */
		T_CHECKF(returned, "a thread was cancelled inside %s", calls[i].name);
		T_CHECKF(result == PTHREAD_CANCELED, "%s: what was asked for is forgotten",
			 calls[i].name);
		all_goes_on();
	}
}

static const struct call *storm;
static sem_t begun;

static void *call_again_and_again(void *arg)
{
	int before;

	(void)arg;
	sem_post(&begun);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	for (unsigned i = 0; i < 20; i++)
		storm->run();
	for (;;)
		pause();
	return NULL;
}

/* Anywhere, not only at cancellation points. */
static void no_instruction_inside(void **state)
{
	struct t_rng rng = { t_seed() };
	unsigned times = t_quick() ? 20 : 200;

	(void)state;
	sem_init(&begun, 0, 0);
	if (T_SANITIZED) {
		t_say("SKIP: sanitizers' own functions must not be cancelled at any instruction");
		skip();
	}
	for (unsigned i = 0; i < CALLS * times; i++) {
		uint64_t spins = t_below(&rng, 1 << t_below(&rng, 20));
		pthread_t thread;

		storm = &calls[i % CALLS];
		/* libc's fork() is not made for that. */
		if (storm->run == make_child)
			continue;
		armed = true;
		assert_int_equal(pthread_create(&thread, NULL, call_again_and_again, NULL), 0);
		sem_wait(&begun);
		while (spins--)
			atomic_signal_fence(memory_order_seq_cst);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
		armed = false;
		first->fail_reg = first->fail_dereg = 0;
		grow();
		statistics();
		/* What the thread had in its hands is nobody's. */
		assert_int_equal(rdm_pool_reset(pool), 0);
		t_recorder_add(first, pool);
	}
	all_goes_on();
}

/* Rails with contexts of their own are served by threads of the library's. */
static void helpers_stay(void **state)
{
	(void)state;
	t_recorder_add(second, pool);
	second->on_reg = cancel_caller;
	armed = true;
	assert_int_equal(rdm_pool_reserve(pool, 64 * T_MIB), 0);
	armed = false;
	assert_int_equal(t_stats(pool).slab_bytes, 64 * T_MIB);
	assert_int_equal(second->live, first->live);
	all_goes_on();
}

static void end_thread(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)recorder;
	(void)addr;
	(void)length;
	if (armed)
		pthread_exit(NULL);
}

static void *allocate(void *arg)
{
	(void)arg;
	grow();
	return NULL;
}

static void *return_all(void *arg)
{
	(void)arg;
	rdm_pool_trim(pool, 0);
	return NULL;
}

static int end_inside(void *arg)
{
	pthread_t thread;

	T_CHECK(!rdm_pool_reset(pool));
	t_recorder_add(first, pool);
	rdm_free(rdm_malloc(pool, T_SLAB));
	armed = true;
	T_CHECK(!pthread_create(&thread, NULL, arg ? return_all : allocate, NULL));
	pthread_join(thread, NULL);
	return T_PASS;
}

/* It cannot go on, and says why. */
static void thread_ends_inside(void **state)
{
	struct t_caught caught;

	(void)state;
	first->on_reg = end_thread;
	t_catch(&caught, end_inside, NULL);
	T_CHECKF(WIFSIGNALED(caught.status) && WTERMSIG(caught.status) == SIGABRT &&
			 t_lines(caught.err) == 1 &&
			 strstr(caught.err, "first: a callback of this registrar"),
		 "reg: status %#x: %s", (unsigned)caught.status, caught.err);
	first->on_reg = NULL;
	first->on_dereg = end_thread;
	t_catch(&caught, end_inside, pool);
	T_CHECKF(WIFSIGNALED(caught.status) && WTERMSIG(caught.status) == SIGABRT &&
			 t_lines(caught.err) == 1 && strstr(caught.err, "has ended its thread"),
		 "dereg: status %#x: %s", (unsigned)caught.status, caught.err);
	first->on_dereg = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_point_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(no_instruction_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(helpers_stay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(thread_ends_inside, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
