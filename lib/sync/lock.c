/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/lock.h"

#include <sched.h>

#include "sync/interrupted.h"

bool rdm_lock_before_fork(struct rdm_lock *lock)
{
	for (unsigned i = 0; rdm_call_is_interrupted(); i++) {
		if (rdm_lock_try(lock))
			return true;
		if (i == RDM_LOCK_TRIES)
			return false;
		sched_yield();
	}
#ifdef RDM_CHECKING
	rdm_assert(rdm_lock_has_none_from(lock->rank + 1));
#endif
	rdm_cancel_off();
	pthread_mutex_lock(&lock->mutex);
#ifdef RDM_CHECKING
	rdm_lock_note_taken(lock);
#endif
	return true;
}

#ifdef RDM_CHECKING

/* How many locks of each rank the calling thread has; its address is the thread's name. */
#ifdef RDM_PRELOAD
static __thread unsigned held[RDM_RANKS] __attribute__((tls_model("initial-exec")));
#else
/* A library that is loaded late may find no room in the threads' static blocks. */
static __thread unsigned held[RDM_RANKS];
#endif

bool rdm_lock_has_none_from(enum rdm_rank rank)
{
	for (; rank < RDM_RANKS; rank++)
		if (held[rank])
			return false;
	return true;
}

bool rdm_lock_has_rank(enum rdm_rank rank)
{
	return held[rank] != 0;
}

bool rdm_lock_is_mine(const struct rdm_lock *lock)
{
	return __atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == held;
}

void rdm_lock_check_rank(enum rdm_rank rank)
{
	rdm_assert(rank > RDM_RANK_NONE && rank < RDM_RANKS);
	/* A signal handler may have come in between, whatever this thread has. */
	rdm_assert(rdm_lock_has_none_from(rank) || rdm_call_is_interrupted());
}

void rdm_lock_note_taken(struct rdm_lock *lock)
{
	rdm_assert(!lock->owner);
	held[lock->rank]++;
	__atomic_store_n(&lock->owner, held, __ATOMIC_RELAXED);
}

void rdm_lock_note_released(struct rdm_lock *lock)
{
	rdm_assert(rdm_lock_is_mine(lock));
	rdm_assert(held[lock->rank]);
	held[lock->rank]--;
	__atomic_store_n(&lock->owner, NULL, __ATOMIC_RELAXED);
}

#endif
