/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/gate.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "sync/cancel.h"
#include "sync/lock.h"

#define STRIPES 16
#define MOMENT_NS 10000000

/* Threads that are inside, a part of them each, so that they do not meet in one cache line. */
struct stripe {
	_Alignas(64) _Atomic unsigned inside;
};

/* Of `closed`: for good. */
#define SHUT (1U << 31)

static struct {
	struct stripe stripes[STRIPES];
	_Atomic unsigned closed;   /* by so many forks, and SHUT */
	_Atomic unsigned closings; /* so far */
	_Atomic unsigned next;
} gate;

static __thread struct {
	struct stripe *stripe;
	unsigned again; /* how often it has entered where it was inside */
	_Atomic unsigned char place;
	bool may_pass;
	unsigned waited; /* the closing for which it has waited */
} own;

#ifdef RDM_PRELOAD
/*
 * jemalloc's part of each thread, referred to as what is there from the start: the linker then lets
 * jemalloc find it that way as well, which was built for libraries that come late, too.
 */
extern __thread char rdm_je_priv_je_tsd_tls[] __attribute__((tls_model("initial-exec")));
__attribute__((used)) static char *part_of_jemalloc(void)
{
	return rdm_je_priv_je_tsd_tls;
}
#endif

/* A signal handler that forks may find the thread on its way, when it may be counted or not. */
enum { OUTSIDE, ON_ITS_WAY, INSIDE };

static void go(unsigned char place)
{
	atomic_store_explicit(&own.place, place, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

bool rdm_gate_is_inside(void)
{
	return atomic_load_explicit(&own.place, memory_order_relaxed) != OUTSIDE;
}

bool rdm_gate_is_shut(void)
{
	return atomic_load_explicit(&gate.closed, memory_order_relaxed) & SHUT;
}

bool rdm_gate_is_closed(void)
{
	return atomic_load(&gate.closed) & ~SHUT;
}

unsigned rdm_gate_closings(void)
{
	return atomic_load(&gate.closings);
}

bool rdm_gate_try(void)
{
	unsigned closed;

	if (rdm_gate_is_inside()) {
		own.again++;
		return true;
	}
	/* Whoever has a lock of those that are taken inside would wait with it for who is there. */
	rdm_assert(rdm_lock_has_none_from(RDM_RANK_PURGE));
	if (!own.stripe)
		own.stripe = &gate.stripes[atomic_fetch_add(&gate.next, 1) % STRIPES];
	rdm_cancel_off();
	go(ON_ITS_WAY);
	atomic_fetch_add(&own.stripe->inside, 1);
	closed = atomic_load(&gate.closed);
	if (__builtin_expect(!closed, 1) || (own.may_pass && !(closed & SHUT))) {
		go(INSIDE);
		return true;
	}
	atomic_fetch_sub(&own.stripe->inside, 1);
	go(OUTSIDE);
	rdm_cancel_on();
	return false;
}

static void wait_for_change(unsigned closed, const struct timespec *most)
{
	int saved = errno;

	syscall(SYS_futex, &gate.closed, FUTEX_WAIT_PRIVATE, closed, most, NULL, 0);
	errno = saved;
}

#ifdef RDM_PRELOAD
/*
 * Most forks are over before, and faster when threads do not go for another malloc's memory meanwhile.
 * Once for each time that the gate is closed: one that cannot be over should not cost more.
 */
static void wait_a_moment(void)
{
	const struct timespec moment = { .tv_nsec = MOMENT_NS };
	unsigned closings = atomic_load(&gate.closings);
	unsigned closed = atomic_load(&gate.closed);

	if (own.waited == closings || !closed || closed & SHUT)
		return;
	own.waited = closings;
	wait_for_change(closed, &moment);
}

bool rdm_gate_enter(void)
{
	if (rdm_gate_try())
		return true;
	wait_a_moment();
	return rdm_gate_try();
}
#else
bool rdm_gate_enter(void)
{
	while (!rdm_gate_try()) {
		unsigned closed = atomic_load(&gate.closed);

		if (closed & SHUT)
			return false;
		if (closed)
			wait_for_change(closed, NULL);
	}
	return true;
}
#endif

void rdm_gate_leave(void)
{
	rdm_assert(rdm_gate_is_inside());
	rdm_assert(rdm_gate_is_shut() || (own.stripe && atomic_load(&own.stripe->inside)));
	if (own.again) {
		own.again--;
		return;
	}
	go(ON_ITS_WAY);
	atomic_fetch_sub(&own.stripe->inside, 1);
	go(OUTSIDE);
	rdm_cancel_on();
}

void rdm_gate_let_pass(bool let)
{
	own.may_pass = let;
}

/*
 * How many of those inside are the caller itself. On its way it may be counted or not: where each
 * thread has a stripe to itself the count tells, else nobody knows, and the gate is not empty.
 */
static unsigned caller_in(const struct stripe *stripe)
{
	unsigned char place = atomic_load_explicit(&own.place, memory_order_relaxed);

	if (own.stripe != stripe || rdm_ablated(RDM_ABLATE_INTERRUPTED))
		return 0;
	if (place == ON_ITS_WAY && atomic_load(&gate.next) <= STRIPES)
		return atomic_load(&stripe->inside);
	return place == INSIDE;
}

void rdm_gate_close(void)
{
	if (rdm_ablated(RDM_ABLATE_GATE))
		return;
	atomic_fetch_add(&gate.closings, 1);
	atomic_fetch_add(&gate.closed, 1);
}

bool rdm_gate_is_empty(void)
{
	for (const struct stripe *stripe = gate.stripes; stripe < gate.stripes + STRIPES; stripe++)
		if (atomic_load(&stripe->inside) > caller_in(stripe) &&
		    !rdm_ablated(RDM_ABLATE_GATE))
			return false;
	return true;
}

void rdm_gate_open(void)
{
	if (rdm_ablated(RDM_ABLATE_GATE))
		return;
	rdm_assert(atomic_load(&gate.closed) & ~SHUT);
	atomic_fetch_sub(&gate.closed, 1);
	syscall(SYS_futex, &gate.closed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void rdm_gate_postfork_child(bool was_empty)
{
	/* A thread that is gone may have knocked. */
	for (struct stripe *stripe = gate.stripes; stripe < gate.stripes + STRIPES; stripe++)
		if (atomic_load(&stripe->inside) != caller_in(stripe))
			atomic_store(&stripe->inside, caller_in(stripe));
	atomic_store(&gate.closed, was_empty && !rdm_gate_is_shut() ? 0 : SHUT);
}
