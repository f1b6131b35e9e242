/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/quiesce.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "base/log.h"
#include "sync/cancel.h"
#include "sync/gate.h"
#include "sync/lock.h"

/* Held by the one who gets the lock next: a lock alone goes to who asks last. */
static struct rdm_lock turn = RDM_LOCK_INIT(RDM_RANK_TURN);
static struct rdm_lock lock = RDM_LOCK_INIT(RDM_RANK_QUIESCE);
static __thread bool inside;
/* By so many forks. */
static _Atomic unsigned closed;
/* Of those, the calling thread's. */
static __thread unsigned closed_here;

static bool is_closed(void *unused)
{
	(void)unused;
	return atomic_load(&closed);
}

static void set_inside(bool is)
{
	inside = is;
	rdm_gate_let_pass(is);
}

static bool refuse(const char *caller)
{
	if (inside) {
		rdm_log(RDM_LOG_ERROR,
			"%s: called by a registrar, which must not make or move slabs", caller);
		errno = EDEADLK;
		return true;
	}
	if (rdm_gate_is_shut()) {
		rdm_log(RDM_LOG_ERROR,
			"%s: this process was made in a signal handler while another thread was inside "
			"rdmalloc: it can use what it has, and free it, no more",
			caller);
		errno = ENOTRECOVERABLE;
		return true;
	}
	return false;
}

static void wait_for_forks(void)
{
	unsigned forks = atomic_load(&closed);

	if (forks)
		syscall(SYS_futex, &closed, FUTEX_WAIT_PRIVATE, forks, NULL, NULL, 0);
}

bool rdm_quiesce_enter(const char *caller)
{
	rdm_assert(caller);
	rdm_assert(rdm_lock_has_none_from(RDM_RANK_TURN) || inside);
	if (refuse(caller))
		return false;
	for (;;) {
		rdm_lock_take(&turn);
		rdm_lock_take(&lock);
		rdm_lock_release(&turn);
		if (!is_closed(NULL))
			break;
		rdm_lock_release(&lock);
		wait_for_forks();
	}
	set_inside(true);
	return true;
}

bool rdm_quiesce_enter_unless_forking(const char *caller)
{
	bool taken;

	rdm_assert(caller);
	rdm_assert(rdm_lock_has_none_from(RDM_RANK_TURN) || inside);
	if (refuse(caller))
		return false;
	taken = rdm_lock_take_until(&turn, is_closed, NULL);
	if (taken) {
		taken = rdm_lock_take_until(&lock, is_closed, NULL);
		rdm_lock_release(&turn);
	}
	if (taken && is_closed(NULL)) {
		rdm_lock_release(&lock);
		taken = false;
	}
	if (taken)
		set_inside(true);
	else
		errno = EAGAIN;
	return taken;
}

void rdm_quiesce_help(void)
{
	rdm_assert(!inside);
	/* For good: a registrar must not end it. */
	rdm_cancel_off();
	set_inside(true);
}

bool rdm_quiesce_is_inside(void)
{
	return inside;
}

#ifdef RDM_CHECKING
bool rdm_quiesce_is_held(void)
{
	return inside || closed_here || rdm_ablated(RDM_ABLATE_QUIESCE);
}
#endif

int rdm_quiesce_leave(int error)
{
	rdm_assert(inside);
	rdm_assert(rdm_lock_is_mine(&lock));
	rdm_assert(!rdm_lock_is_mine(&turn));
	set_inside(false);
	rdm_lock_release(&lock);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

void rdm_quiesce_close(void)
{
#ifndef RDM_PRELOAD
	if (inside)
		rdm_log(RDM_LOG_WARN,
			"fork() inside a registrar: its locks are the child's problem");
#endif
	closed_here++;
	if (!rdm_ablated(RDM_ABLATE_QUIESCE))
		atomic_fetch_add(&closed, 1);
}

bool rdm_quiesce_is_empty(void)
{
	return !__atomic_load_n(&lock.word, __ATOMIC_SEQ_CST) || inside ||
	       rdm_lock_is_mine(&lock) || rdm_ablated(RDM_ABLATE_QUIESCE);
}

void rdm_quiesce_open(void)
{
	rdm_assert(closed_here);
	closed_here--;
	if (rdm_ablated(RDM_ABLATE_QUIESCE))
		return;
	atomic_fetch_sub(&closed, 1);
	syscall(SYS_futex, &closed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void rdm_quiesce_postfork_child(void)
{
	/* Whoever waited has it for a moment, even when it is closed. */
	if (!rdm_ablated(RDM_ABLATE_QUIESCE)) {
		rdm_lock_forget_others(&turn);
		rdm_lock_forget_others(&lock);
	}
	closed_here = 0;
	atomic_store(&closed, 0);
}
