/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/gate.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "sync/cancel.h"
#include "sync/interrupted.h"
#include "sync/lock.h"

#define STRIPES 16

/* Threads that are inside, a part of them each, so that they do not meet in one cache line. */
struct stripe {
	_Alignas(64) _Atomic unsigned inside;
};

static struct {
	struct stripe stripes[STRIPES];
	/* Held while the gate is closed. */
	struct rdm_lock door;
	_Atomic bool closed;
	_Atomic unsigned next;
} gate = { .door = RDM_LOCK_INIT(RDM_RANK_GATE) };

static __thread struct {
	struct stripe *stripe;
	unsigned again; /* how often it has entered where it was inside */
	_Atomic bool inside;
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

static void futex(_Atomic unsigned *word, int operation, unsigned value)
{
	syscall(SYS_futex, word, operation, value, NULL, NULL, 0);
}

bool rdm_gate_is_inside(void)
{
	return atomic_load_explicit(&own.inside, memory_order_relaxed);
}

static void give_way(struct stripe *stripe)
{
	rdm_assert(atomic_load(&stripe->inside));
	atomic_fetch_sub(&stripe->inside, 1);
	if (atomic_load(&gate.closed))
		futex(&stripe->inside, FUTEX_WAKE_PRIVATE, 1);
}

void rdm_gate_enter(void)
{
	if (atomic_load_explicit(&own.inside, memory_order_relaxed)) {
		own.again++;
		return;
	}
	/* Whoever has a lock of a higher rank would wait with it for a fork(). */
	rdm_assert(rdm_lock_has_none_from(RDM_RANK_GATE) || rdm_call_is_interrupted());
	if (!own.stripe)
		own.stripe = &gate.stripes[atomic_fetch_add(&gate.next, 1) % STRIPES];
	rdm_cancel_off();
	for (;;) {
		/* Before it is so, and until it has ceased to be: a signal handler may fork in between. */
		atomic_store_explicit(&own.inside, true, memory_order_relaxed);
		atomic_fetch_add(&own.stripe->inside, 1);
		if (!atomic_load(&gate.closed))
			return;
		give_way(own.stripe);
		atomic_store_explicit(&own.inside, false, memory_order_relaxed);
		rdm_lock_take(&gate.door);
		rdm_lock_release(&gate.door);
	}
}

void rdm_gate_leave(void)
{
	rdm_assert(rdm_gate_is_inside());
	rdm_assert(own.stripe);
	if (own.again) {
		own.again--;
		return;
	}
	give_way(own.stripe);
	atomic_store_explicit(&own.inside, false, memory_order_relaxed);
	rdm_cancel_on();
}

/* How many of those inside are the caller itself. */
static unsigned caller_in(const struct stripe *stripe)
{
	return atomic_load_explicit(&own.inside, memory_order_relaxed) && own.stripe == stripe;
}

static void close_gate(void)
{
	rdm_lock_take(&gate.door);
	atomic_store(&gate.closed, true);
	for (struct stripe *stripe = gate.stripes; stripe < gate.stripes + STRIPES; stripe++) {
		unsigned inside;

		while ((inside = atomic_load(&stripe->inside)) > caller_in(stripe))
			futex(&stripe->inside, FUTEX_WAIT_PRIVATE, inside);
	}
}

static void open_gate(void)
{
	rdm_assert(atomic_load(&gate.closed));
	rdm_assert(rdm_lock_is_mine(&gate.door));
	atomic_store(&gate.closed, false);
	rdm_lock_release(&gate.door);
}

void rdm_gate_prefork(void)
{
	if (!rdm_ablated(RDM_ABLATE_GATE))
		close_gate();
}

void rdm_gate_postfork_parent(void)
{
	if (!rdm_ablated(RDM_ABLATE_GATE))
		open_gate();
}

void rdm_gate_postfork_child(void)
{
	/* A thread that is gone may have knocked. */
	for (struct stripe *stripe = gate.stripes; stripe < gate.stripes + STRIPES; stripe++)
		if (atomic_load(&stripe->inside) != caller_in(stripe))
			atomic_store(&stripe->inside, caller_in(stripe));
	if (!rdm_ablated(RDM_ABLATE_GATE))
		open_gate();
}
