/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reserves that are large enough for several threads: every page is written
 * before each pin whatever the kernel can do, rails register at once and each in
 * order, and what fails leaves whole slabs. Without threads, or without memory
 * in one piece, it is the same.
 */
#include "fork/backing.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { SLABS = 48, RAILS = 3 };

static const size_t large = SLABS * T_SLAB;

/* The linker sends the library's calls here (--wrap). */
int __real_madvise(void *addr, size_t length, int advice);
int __wrap_madvise(void *addr, size_t length, int advice);
int __real_mprotect(void *addr, size_t length, int protection);
int __wrap_mprotect(void *addr, size_t length, int protection);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);

static enum { POPULATES, OLD_KERNEL, UNDONE } populating;
static _Atomic(unsigned) fail_populate; /* the n-th from now; 0: none */
static size_t most_mapped = SIZE_MAX;
static _Atomic(unsigned) threads, most_threads = 1000;

/* Several threads may ask at a time. */
static bool fails_now(void)
{
	unsigned left = fail_populate;

	while (left && !atomic_compare_exchange_weak(&fail_populate, &left, left - 1))
		;
	return left == 1;
}

int __wrap_madvise(void *addr, size_t length, int advice)
{
	if (advice == MADV_POPULATE_WRITE && populating == OLD_KERNEL) {
		errno = EINVAL;
		return -1;
	}
	if (advice == MADV_POPULATE_WRITE && fails_now()) {
		errno = ENOMEM;
		return -1;
	}
	if (__real_madvise(addr, length, advice))
		return -1;
	/* As paging can do it before the pin. */
	if (advice == MADV_POPULATE_WRITE && populating == UNDONE)
		return __real_madvise(addr, length, MADV_DONTNEED);
	return 0;
}

int __wrap_mprotect(void *addr, size_t length, int protection)
{
	if (length > most_mapped) {
		errno = ENOMEM;
		return -1;
	}
	return __real_mprotect(addr, length, protection);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg)
{
	if (threads == most_threads)
		return EAGAIN;
	threads++;
	return __real_pthread_create(thread, attr, start, arg);
}

static struct {
	rdm_pool *pool;
	pthread_t caller;
	struct t_recorder *rail[RAILS];
	uintptr_t last[RAILS]; /* what each registered last */
	unsigned rails;
} scene;

static bool signals_are_blocked(void)
{
	sigset_t blocked;

	T_CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &blocked));
	return sigismember(&blocked, SIGINT) && sigismember(&blocked, SIGALRM) &&
	       sigismember(&blocked, SIGCHLD);
}

static void look(struct t_recorder *recorder, void *addr, size_t length)
{
	bool is_caller = pthread_equal(pthread_self(), scene.caller);
	unsigned i = 0;

	while (scene.rail[i] != recorder)
		i++;
	T_CHECKF((uintptr_t)addr > scene.last[i], "rail %u: %p comes late", i, addr);
	scene.last[i] = (uintptr_t)addr;
	T_CHECKF(i || is_caller, "the first rail's registrar runs in another thread");
	T_CHECK(is_caller || signals_are_blocked());
	for (size_t at = 0; at < length; at += t_page())
		for (size_t in = 0; in < t_page(); in += 64)
			T_CHECK(!__atomic_load_n((char *)addr + at + in, __ATOMIC_RELAXED));
}

static void begin(unsigned backing, unsigned rails)
{
	scene.pool = t_pool("reserve", backing, 0, T_SLAB, 0);
	scene.caller = pthread_self();
	scene.rails = rails;
	for (unsigned i = 0; i < rails; i++) {
		scene.rail[i] = t_recorder_new("rail");
		scene.rail[i]->on_reg = look;
		scene.rail[i]->fail_errno = ENOSPC;
		scene.last[i] = 0;
		t_recorder_add(scene.rail[i], scene.pool);
	}
	threads = 0;
}

/* So many slabs are there, on every rail, and fit for RDMA. */
static void expect(size_t slabs)
{
	struct rdm_stats stats = t_stats(scene.pool);

	T_CHECKF(stats.slabs == slabs && stats.slab_bytes == slabs * T_SLAB, "%zu slabs, not %zu",
		 stats.slabs, slabs);
	for (unsigned i = 0; i < scene.rails; i++)
		T_CHECKF(scene.rail[i]->live == slabs, "rail %u has %zu of %zu", i,
			 (size_t)scene.rail[i]->live, slabs);
	T_CHECK(!t_audit(scene.pool));
}

static void end(void)
{
	T_CHECK(!rdm_pool_destroy(scene.pool));
	for (unsigned i = 0; i < scene.rails; i++) {
		T_CHECK(!scene.rail[i]->live);
		t_recorder_free(scene.rail[i]);
	}
	populating = POPULATES;
	most_mapped = SIZE_MAX;
	most_threads = 1000;
	fail_populate = 0;
}

static void whole(unsigned backing, unsigned rails)
{
	void *block;

	begin(backing, rails);
	T_CHECKF(!rdm_pool_reserve(scene.pool, large), "%s", strerror(errno));
	expect(SLABS);
	T_CHECK(t_stats(scene.pool).growths == SLABS);
	T_CHECK(t_stats(scene.pool).registrations == SLABS * rails);
	T_CHECK(threads + 1 >= rails && threads <= most_threads);
	block = t_malloc(scene.pool, T_SLAB);
	if (backing == RDM_BACKING_ANON)
		T_CHECK(t_vmas((uintptr_t)block, (uintptr_t)block + large) == 1);
	/* The end goes, slab by slab, and comes back. */
	T_CHECK(!rdm_pool_trim(scene.pool, 5 * T_SLAB));
	expect(5);
	memset(scene.last, 0, sizeof(scene.last));
	T_CHECK(!rdm_pool_reserve(scene.pool, large));
	expect(SLABS);
	rdm_free(block);
	end();
}

static void every_kernel(void)
{
	for (unsigned rails = 0; rails <= 1; rails++) {
		populating = OLD_KERNEL;
		whole(RDM_BACKING_ANON, rails);
		populating = UNDONE;
		whole(RDM_BACKING_ANON, rails);
	}
}

static void few_threads(void)
{
	for (unsigned most = 0; most < RAILS; most++) {
		most_threads = most;
		begin(RDM_BACKING_ANON, RAILS);
		T_CHECK(!rdm_pool_reserve(scene.pool, large));
		T_CHECK(threads == most);
		expect(SLABS);
		end();
	}
}

/* Memory is only to be had in pieces of a few slabs. */
static void small_pieces(void)
{
	begin(RDM_BACKING_ANON, 1);
	most_mapped = 5 * T_SLAB;
	T_CHECK(!rdm_pool_reserve(scene.pool, large));
	expect(SLABS);
	most_mapped = 0;
	T_FAILS(rdm_pool_reserve(scene.pool, 2 * large) == -1, ENOMEM);
	expect(SLABS);
	end();
}

static pthread_barrier_t both;
static _Atomic(unsigned) came;

static void meet(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)addr;
	(void)length;
	if (recorder->regs == 1) {
		came++;
		pthread_barrier_wait(&both);
	}
}

/* A call of one rail's registrar does not end before the other's has begun. */
static void rails_at_once(void)
{
	T_CHECK(!pthread_barrier_init(&both, NULL, 2));
	begin(RDM_BACKING_ANON, 2);
	scene.rail[0]->on_reg = scene.rail[1]->on_reg = meet;
	T_CHECK(!rdm_pool_reserve(scene.pool, large));
	T_CHECK(came == 2);
	expect(SLABS);
	end();
	pthread_barrier_destroy(&both);
}

static struct {
	_Atomic(unsigned) users, calls;
	_Atomic(pthread_t) thread;
} shared;

static int shared_reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	pthread_t none = 0;

	(void)context;
	(void)addr;
	(void)length;
	T_CHECKF(!shared.users++, "two threads in one context");
	if (!atomic_compare_exchange_strong(&shared.thread, &none, pthread_self()))
		T_CHECKF(pthread_equal(none, pthread_self()), "two threads for one context");
	shared.calls++;
	mr->lkey = 1;
	shared.users--;
	return 0;
}

static int shared_dereg(void *context, const struct rdm_mr *mr)
{
	(void)context;
	(void)mr;
	return 0;
}

static void one_context_twice(void)
{
	struct rdm_registrar ops = {
		.size = sizeof(ops), .name = "shared", .reg = shared_reg, .dereg = shared_dereg
	};

	begin(RDM_BACKING_ANON, 1);
	T_CHECK(rdm_pool_add_rail(scene.pool, &ops, &shared) == 1);
	T_CHECK(rdm_pool_add_rail(scene.pool, &ops, &shared) == 2);
	T_CHECK(!rdm_pool_reserve(scene.pool, large));
	T_CHECK(shared.calls == 2 * SLABS);
	expect(SLABS);
	end();
}

static _Atomic(unsigned) refused;

static void call_back(struct t_recorder *recorder, void *addr, size_t length)
{
	void *volatile none;

	(void)recorder;
	(void)addr;
	T_FAILS(rdm_pool_trim(scene.pool, 0) == -1, EDEADLK);
	T_FAILS(rdm_pool_reserve(scene.pool, 2 * large) == -1, EDEADLK);
	T_FAILS(!(none = rdm_malloc(scene.pool, 2 * length)), EDEADLK);
	refused++;
}

static int workers_call_back(void *arg)
{
	(void)arg;
	begin(RDM_BACKING_ANON, 2);
	scene.rail[1]->on_reg = call_back;
	T_CHECK(!rdm_pool_reserve(scene.pool, large));
	T_CHECK(refused == SLABS);
	expect(SLABS);
	end();
	return T_PASS;
}

static void registrations_fail(void)
{
	begin(RDM_BACKING_ANON, RAILS);
	for (unsigned n = 1; n <= SLABS; n += 1 + n / 3) {
		struct t_recorder *failing = scene.rail[n % RAILS];
		size_t made;

		memset(scene.last, 0, sizeof(scene.last));
		failing->fail_reg = n;
		T_FAILS(rdm_pool_reserve(scene.pool, large) == -1, ENOSPC);
		T_CHECK(!failing->fail_reg);
		made = t_stats(scene.pool).slabs;
		T_CHECKF(made < n, "%zu slabs, and registration %u failed", made, n);
		expect(made);
		T_CHECK(!rdm_pool_trim(scene.pool, 0));
		expect(0);
	}
	/* Slabs that cannot be undone are in quarantine, and tried again. */
	memset(scene.last, 0, sizeof(scene.last));
	scene.rail[2]->fail_reg = SLABS;
	scene.rail[0]->fail_dereg = 1;
	T_FAILS(rdm_pool_reserve(scene.pool, large) == -1, ENOSPC);
	if (!scene.rail[0]->fail_dereg)
		T_CHECK(t_stats(scene.pool).quarantined == T_SLAB);
	scene.rail[0]->fail_dereg = 0;
	T_CHECK(!rdm_pool_trim(scene.pool, 0));
	expect(0);
	end();
}

static int memory_fails(void *arg)
{
	unsigned n = *(unsigned *)arg;

	begin(RDM_BACKING_ANON, 2);
	fail_populate = n;
	T_FAILS(rdm_pool_reserve(scene.pool, large) == -1, ENOMEM);
	T_CHECK(t_stats(scene.pool).slabs < SLABS && !fail_populate);
	expect(t_stats(scene.pool).slabs);
	memset(scene.last, 0, sizeof(scene.last));
	T_CHECK(!rdm_pool_reserve(scene.pool, large));
	end();
	return T_PASS;
}

static void failure_is_one_line(void)
{
	struct t_caught caught;

	for (unsigned n = 1; n <= SLABS; n += 9) {
		t_catch(&caught, memory_fails, &n);
		t_caught_line(&caught, "memory", "2 MiB");
	}
	t_catch(&caught, workers_call_back, NULL);
	T_CHECKF(!caught.status, "status %#x: %s", caught.status, caught.err);
}

static void within_limit(void)
{
	rdm_pool *pool = t_pool("limit", 0, 0, 2 * T_SLAB, large + T_SLAB);

	T_CHECK(!rdm_pool_reserve(pool, large + T_SLAB));
	T_CHECK(t_stats(pool).slab_bytes == large + T_SLAB);
	T_CHECK(t_stats(pool).slabs == SLABS / 2 + 1);
	T_FAILS(rdm_pool_reserve(pool, large + T_SLAB + 1) == -1, ENOMEM);
	T_CHECK(t_stats(pool).slab_bytes == large + T_SLAB && !rdm_pool_destroy(pool));
}

/* One slab, in which the threads share. */
static void one_slab(void)
{
	begin(RDM_BACKING_ANON, 1);
	rdm_free(t_malloc(scene.pool, large));
	T_CHECK(t_stats(scene.pool).slabs == 1 && scene.rail[0]->live == 1);
	T_CHECK(!t_audit(scene.pool));
	end();
}

/* More than there is: not in one piece, but all that there is. */
static void exhausted(void)
{
	size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * t_page();

	begin(RDM_BACKING_HUGETLB, 1);
	T_FAILS(rdm_pool_reserve(scene.pool, memory) == -1, ENOMEM);
	T_CHECKF(t_stats(scene.pool).slabs >= SLABS, "%zu slabs", t_stats(scene.pool).slabs);
	expect(t_stats(scene.pool).slabs);
	end();
}

int main(void)
{
	if (t_backing() == RDM_BACKING_HUGETLB) {
		for (unsigned rails = 0; rails <= 2; rails++)
			whole(RDM_BACKING_HUGETLB, rails);
		populating = OLD_KERNEL;
		whole(RDM_BACKING_HUGETLB, 0);
		exhausted();
		return T_PASS;
	}
	whole(RDM_BACKING_ANON, 0);
	whole(RDM_BACKING_ANON, RAILS);
	whole(RDM_BACKING_SHARED, 2);
	every_kernel();
	few_threads();
	small_pieces();
	rails_at_once();
	one_context_twice();
	registrations_fail();
	failure_is_one_line();
	within_limit();
	one_slab();
	return T_PASS;
}
