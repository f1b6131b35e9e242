/* SPDX-License-Identifier: BSD-2-Clause */
#include "fork/fork.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "fork/snapshot.h"
#include "heap/caches.h"
#include "heap/settle.h"
#include "memory/keys.h"
#include "memory/reserve.h"
#include "pool/foreign_index.h"
#include "pool/pool.h"
#include "pool/publish.h"
#include "slab/registration.h"
#include "sync/background.h"
#include "sync/cancel.h"
#include "sync/fork_count.h"
#include "sync/gate.h"
#include "sync/late.h"
#include "sync/lock.h"
#include "sync/quiesce.h"
#include "sync/signals.h"

/* How often a signal handler that interrupted a call of ours looks whether the others are done. */
#define TRIES 1000
/* How often anybody does: longer than a registrar takes, and under the preload, where there is none, seconds. */
#ifdef RDM_PRELOAD
#define TRIES_MAX 100000
#else
#define TRIES_MAX UINT_MAX
#endif
/* Between two looks. Who yields instead has to wait for everybody else's time slice. */
#define NAP_NS 20000
/* Some tenths of a second: much longer than a fork takes that need not wait. */
#define AWAITS_MAX 5000

/* Held, with signals blocked, by who makes something ready, or drops it. */
static struct rdm_lock making = RDM_LOCK_INIT(RDM_RANK_FORK);
static _Atomic unsigned ready; /* forks for which it is */
static _Atomic bool left_over; /* by a fork that could not drop it */
static _Atomic unsigned era;   /* each child begins one */
static _Atomic uint64_t prepare_ns;
static const struct rdm_fork_guest *guest;

void rdm_fork_invite(const struct rdm_fork_guest *handlers)
{
	rdm_assert(handlers && handlers->prefork);
	rdm_assert(!guest || guest == handlers);
	guest = handlers;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* How long the calling thread may wait, and what it does meanwhile. */
struct wait {
	sigset_t before;  /* signals that were blocked */
	bool interrupted; /* somebody may wait for the call that a signal handler interrupted */
	unsigned tries;
	unsigned era;
};

static void wait_begins(struct wait *wait)
{
	rdm_signals_block(&wait->before);
	wait->interrupted = !rdm_ablated(RDM_ABLATE_INTERRUPTED) &&
			    (rdm_lock_has_any() || rdm_gate_is_inside() || rdm_quiesce_is_inside());
	wait->tries = 0;
	wait->era = atomic_load(&era);
}

/* Who waits for a registrar waits longer each time. */
static void nap(unsigned tries)
{
#ifdef RDM_PRELOAD
	unsigned doublings = 0;
#else
	unsigned doublings = tries < 13 ? tries : 13;
#endif
	const struct timespec nap = { .tv_nsec = (long)NAP_NS << doublings };

	(void)tries;

	nanosleep(&nap, NULL);
}

/* Whether to go on waiting is of no use. Signals are delivered meanwhile, whose handlers may fork. */
static bool wait_ends(void *context)
{
	struct wait *wait = context;

	/* For itself. */
	while (rdm_ablated(RDM_ABLATE_INTERRUPTED) && rdm_gate_is_inside())
		pause();
	if (wait->tries++ >= (wait->interrupted ? TRIES : TRIES_MAX))
		return true;
	rdm_signals_restore(&wait->before);
	nap(wait->tries);
	rdm_signals_block(&wait->before);
	/* This is the child of such a handler's, which has begun anew. */
	return wait->era != atomic_load(&era);
}

static bool wait_until(bool (*done)(void), struct wait *wait)
{
	while (!done())
		if (wait_ends(wait))
			return false;
	return true;
}

static bool try_lock(struct rdm_lock *lock, bool *taken)
{
	bool mine = rdm_lock_is_mine(lock);

	*taken = !mine && rdm_lock_try(lock);
	return mine || *taken;
}

static void unlock_sets(struct rdm_pool *first, const struct rdm_pool *end)
{
	for (; first != end; first = first->next)
		if (first->slabs.locked_by_fork)
			rdm_lock_release(&first->slabs.lock);
}

static bool try_sets(void)
{
	for (struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next)
		if (!try_lock(&pool->slabs.lock, &pool->slabs.locked_by_fork)) {
			unlock_sets(rdm_pools(), pool);
			return false;
		}
	return true;
}

static bool try_all(void)
{
	if (!rdm_lock_try(&making))
		return false;
	if (try_sets()) {
		if (!guest || guest->try_lock())
			return true;
		unlock_sets(rdm_pools(), NULL);
	}
	rdm_lock_release(&making);
	return false;
}

/*
 * All locks that guard what children get, or none meanwhile: one that is missing may be that of a
 * thread whose signal handler wants the others. Signals stay blocked. False: it cannot wait longer.
 */
static bool lock_all(const struct wait *wait)
{
	for (unsigned tries = 0; !try_all(); tries++) {
		if (tries > TRIES && wait->interrupted)
			return false;
		nap(0);
	}
	return true;
}

static void unlock_all(void)
{
	if (guest)
		guest->unlock();
	unlock_sets(rdm_pools(), NULL);
	rdm_lock_release(&making);
}

static void drop(void)
{
	rdm_assert(rdm_lock_is_mine(&making));
	for (struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next)
		pool->slabs.ops->postfork_parent(&pool->slabs);
	rdm_snapshot_postfork_parent_foreign();
	left_over = false;
}

/* What the child gets. False: some lock could not be had. */
static bool make_ready(const void *stack, struct wait *wait)
{
	rdm_reserve_prefork();
	if (!lock_all(wait)) {
		rdm_log(RDM_LOG_WARN,
			"fork() in a signal handler that interrupted rdmalloc: the child gets holes "
			"where memory is registered");
		return false;
	}
	if (left_over && !ready)
		drop();
	if (guest)
		guest->prefork(stack, !ready);
	rdm_snapshot_prefork_foreign();
	for (struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next)
		pool->slabs.ops->prefork(&pool->slabs);
	ready++;
	unlock_all();
	return true;
}

/* Keeps everybody out. Whether everybody is. */
static bool close_doors(struct wait *wait)
{
	bool empty;

	rdm_quiesce_close();
	empty = wait_until(rdm_quiesce_is_empty, wait);
	if (wait->era != atomic_load(&era))
		return false;
	rdm_gate_close();
	/* Nobody enters one that is shut, nor can what is inside be used in the child. */
	return !rdm_gate_is_shut() && wait_until(rdm_gate_is_empty, wait) && empty;
}

void rdm_fork_begin(struct rdm_fork *fork, const void *stack)
{
	uint64_t start = now();
	struct wait wait;

	/* Until its end, in either process. */
	rdm_cancel_off();
	wait_begins(&wait);
	for (;;) {
		fork->whole = close_doors(&wait);
		if (wait.era == atomic_load(&era))
			break;
		/* The child of a handler: its doors are open, and nobody else is there. */
		wait.era = atomic_load(&era);
	}
	fork->era = wait.era;
	fork->ready = make_ready(stack, &wait);
	atomic_store(&prepare_ns, now() - start);
	rdm_signals_restore(&wait.before);
}

void rdm_fork_end_in_parent(const struct rdm_fork *fork)
{
	uint64_t start = now();
	struct wait wait;

	wait_begins(&wait);
	/* In a handler's child that comes back here, all of that is done. */
	if (fork->era != wait.era) {
		rdm_signals_restore(&wait.before);
		rdm_cancel_on();
		return;
	}
	if (fork->ready && lock_all(&wait)) {
		if (--ready == 0)
			drop();
		unlock_all();
	} else if (fork->ready) {
		left_over = true;
		ready--;
	}
	rdm_gate_open();
	rdm_fork_counted(atomic_load(&prepare_ns) + now() - start);
	rdm_quiesce_open();
	rdm_signals_restore(&wait.before);
	if (rdm_late_any() && !wait.interrupted && rdm_gate_try()) {
		rdm_settle();
		rdm_gate_leave();
	}
	rdm_cancel_on();
}

static void leave_pool_in_child(struct rdm_pool *pool, const struct rdm_fork *fork)
{
	rdm_lock_forget_others(&pool->slabs.lock);
	pool->slabs.locked_by_fork = rdm_lock_try(&pool->slabs.lock);
	pool->slabs.ops->postfork_child(&pool->slabs);
	/* What is freed of a hole must be nobody's next block, nor what shares a page with one. */
	if (!pool->slabs.ops->outlives_fork || !fork->whole || pool->slabs.has_holes) {
		rdm_caches_postfork_child(&pool->heap);
		atomic_store(&pool->heap.inherited, true);
		pool->complained = false;
	}
	if (pool->slabs.locked_by_fork)
		rdm_lock_release(&pool->slabs.lock);
}

static void forget_rails(struct rdm_pool *pool)
{
	rdm_slabs_close_rails(&pool->slabs, true);
}

/* Of pools that go on in the child. */
static void forget_threads(struct rdm_pool *pool)
{
	if (pool->slabs.ops->outlives_fork && !atomic_load(&pool->heap.inherited))
		rdm_caches_bury(&pool->heap);
}

void rdm_fork_end_in_child(const struct rdm_fork *fork)
{
	struct wait wait;

	wait_begins(&wait);
	if (fork->era != wait.era) {
		rdm_signals_restore(&wait.before);
		rdm_cancel_on();
		return;
	}
	atomic_fetch_add(&era, 1);
	rdm_reserve_postfork_child();
	rdm_keys_postfork_child();
	rdm_snapshot_postfork_child_foreign();
	rdm_foreign_postfork_child();
	rdm_lock_forget_others(&making);
	for (struct rdm_pool *pool = rdm_pools(); pool; pool = pool->next)
		leave_pool_in_child(pool, fork);
	if (guest)
		guest->postfork_child();
	ready = 0;
	left_over = false;
	rdm_late_postfork_child();
	rdm_gate_postfork_child(fork->whole);
	/* jemalloc works again, and rails have memory of their own to free. */
	rdm_pools_for_each(forget_rails);
	if (!wait.interrupted)
		rdm_pools_for_each(forget_threads);
	rdm_background_open();
	rdm_publish_postfork_child();
	rdm_quiesce_postfork_child();
	rdm_signals_restore(&wait.before);
	rdm_cancel_on();
}

/* Of the calling thread, one in the other: handlers of signals fork, too. */
#define NESTED_MAX 16
static __thread struct {
	unsigned depth;
	struct rdm_fork fork[NESTED_MAX];
} running;

static void prefork(void)
{
	struct rdm_fork fork;

	rdm_fork_begin(&fork, __builtin_frame_address(0));
	if (running.depth == NESTED_MAX)
		rdm_die("fork() in signal handlers that interrupted fork(), %d deep", NESTED_MAX);
	/* One that is interrupted here by another has its place below. */
	running.fork[running.depth++] = fork;
}

static void postfork_parent(void)
{
	struct rdm_fork fork;

	/* It is the child of a handler that interrupted this fork(). */
	if (!running.depth) {
		rdm_cancel_on();
		return;
	}
	fork = running.fork[running.depth - 1];
	running.depth--;
	rdm_fork_end_in_parent(&fork);
}

static void postfork_child(void)
{
	struct rdm_fork fork;

	if (!running.depth) {
		rdm_cancel_on();
		return;
	}
	fork = running.fork[running.depth - 1];
	running.depth = 0;
	rdm_fork_end_in_child(&fork);
}

bool rdm_fork_is_ready(void)
{
	return atomic_load(&ready);
}

void rdm_fork_await(void)
{
	rdm_cancel_off();
	/* Where the gate is closed there is no memory for records, and it may take time to be made ready. */
	for (unsigned i = 0;
	     i < AWAITS_MAX && (rdm_fork_is_ready() || rdm_gate_is_closed()) && !running.depth; i++)
		nap(0);
	rdm_cancel_on();
}

/* The preload's pthread_atfork() comes here first. */
static __thread bool registering;

static void register_handlers(void)
{
	int error;

	rdm_assert(!registering);
	registering = true;
	rdm_background_open();
	/* Its key has to be older than jemalloc's. */
	error = rdm_caches_open();
	if (!error)
		error = pthread_atfork(prefork, postfork_parent, postfork_child);
	if (error)
		rdm_die("no memory to register fork handlers, or no thread-specific key left");
}

void rdm_fork_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!registering)
		pthread_once(&once, register_handlers);
}

/* Before ordinary constructors, jemalloc's among them. */
__attribute__((constructor(101))) static void load(void)
{
	rdm_conf();
	rdm_fork_init();
}
