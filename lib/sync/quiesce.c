/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/quiesce.h"

#include <errno.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "base/log.h"
#include "sync/cancel.h"
#include "sync/interrupted.h"
#include "sync/lock.h"

/* Held by the one who gets the lock next: a mutex alone goes to who asks last. */
static struct rdm_lock turn = RDM_LOCK_INIT(RDM_RANK_TURN);
static struct rdm_lock lock = RDM_LOCK_INIT(RDM_RANK_QUIESCE);
static __thread bool inside;
static __thread bool forked_inside;
static bool turn_locked_by_fork, locked_by_fork;

bool rdm_quiesce_enter(const char *caller)
{
	rdm_assert(caller);
	rdm_assert(rdm_lock_has_none_from(RDM_RANK_TURN) || inside || rdm_call_is_interrupted());
	if (inside) {
		rdm_log(RDM_LOG_ERROR,
			"%s: called by a registrar, which must not make or move slabs", caller);
		errno = EDEADLK;
		return false;
	}
	rdm_lock_take(&turn);
	rdm_lock_take(&lock);
	rdm_lock_release(&turn);
	inside = true;
	return true;
}

void rdm_quiesce_help(void)
{
	rdm_assert(!inside);
	/* For good: a registrar must not end it. */
	rdm_cancel_off();
	inside = true;
}

bool rdm_quiesce_is_inside(void)
{
	return inside;
}

#ifdef RDM_CHECKING
bool rdm_quiesce_is_held(void)
{
	return inside || rdm_lock_is_mine(&lock) || rdm_call_is_interrupted() ||
	       rdm_ablated(RDM_ABLATE_QUIESCE);
}
#endif

int rdm_quiesce_leave(int error)
{
	rdm_assert(inside);
	rdm_assert(rdm_lock_is_mine(&lock));
	rdm_assert(!rdm_lock_is_mine(&turn));
	inside = false;
	rdm_lock_release(&lock);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

void rdm_quiesce_prefork(void)
{
	forked_inside = inside;
	if (forked_inside)
		rdm_log(RDM_LOG_WARN,
			"fork() inside a registrar: its locks are the child's problem");
	else if (!rdm_ablated(RDM_ABLATE_QUIESCE)) {
		/* The child must not inherit a turn in somebody else's hands, either. */
		turn_locked_by_fork = rdm_lock_before_fork(&turn);
		locked_by_fork = rdm_lock_before_fork(&lock);
	}
}

void rdm_quiesce_postfork(void)
{
	if (forked_inside || rdm_ablated(RDM_ABLATE_QUIESCE))
		return;
	if (locked_by_fork)
		rdm_lock_release(&lock);
	if (turn_locked_by_fork)
		rdm_lock_release(&turn);
}
