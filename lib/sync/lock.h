/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LOCK_H
#define RDM_LOCK_H

/*
 * Mutexes with a rank. A thread takes a lock only of a higher rank than any that it has; the
 * checking build sees to that at each acquisition, and knows whose each lock is, so that
 * "under lock X" is an assertion. In other builds a lock is a mutex, and rank is in this table.
 * Nobody who has one can be cancelled (cancel.h).
 *
 * Fork handlers take those that a child could inherit taken, all of a rank one after the other,
 * in the order of ranks, also where they have interrupted a call of ours: by
 * rdm_lock_before_fork(). The others are held inside the quiesce lock or the gate only, and the
 * book of registrations is wiped in a child.
 */

#include <pthread.h>
#include <stdbool.h>

#include "base/contract.h"
#include "sync/cancel.h"

/* From the outermost to the leaves. */
enum rdm_rank {
	RDM_RANK_NONE,
	RDM_RANK_TURN,       /* who gets the quiesce lock next */
	RDM_RANK_QUIESCE,    /* pools, slabs, registrations, the reserve */
	RDM_RANK_BACKGROUND, /* a step of the background thread's work */
	RDM_RANK_GATE,       /* the way into jemalloc; held while it is closed */
	RDM_RANK_PURGE,      /* returning runs of jemalloc's */
	RDM_RANK_REGISTRY,   /* which thread has which caches */
	RDM_RANK_DEPOT,
	RDM_RANK_FILL, /* what is populated of a batch */
	RDM_RANK_SET,  /* what is carved of a set of slabs */
	RDM_RANK_PINS, /* what programs registered themselves */
	RDM_RANK_REUSE,
	RDM_RANKS,
};

struct rdm_lock {
	pthread_mutex_t mutex;
#ifdef RDM_CHECKING
	enum rdm_rank rank;
	const void *owner; /* an address of the thread's own; NULL: nobody */
#endif
};

#ifdef RDM_CHECKING
#define RDM_LOCK_INIT(its_rank)                                        \
	{                                                              \
		.mutex = PTHREAD_MUTEX_INITIALIZER, .rank = (its_rank) \
	}
/* For one that is held for less time than it takes to fall asleep. */
#define RDM_LOCK_INIT_SHORT(its_rank)                                              \
	{                                                                          \
		.mutex = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP, .rank = (its_rank) \
	}

/* Before a lock is waited for; once it is had; before it is let go. */
void rdm_lock_check_rank(enum rdm_rank rank);
void rdm_lock_note_taken(struct rdm_lock *lock);
void rdm_lock_note_released(struct rdm_lock *lock);
#else
#define RDM_LOCK_INIT(its_rank)                    \
	{                                          \
		.mutex = PTHREAD_MUTEX_INITIALIZER \
	}
#define RDM_LOCK_INIT_SHORT(its_rank)                          \
	{                                                      \
		.mutex = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP \
	}
#endif

/* For assertions: whether the calling thread has it; has one of that rank; has none from it on. */
bool rdm_lock_is_mine(const struct rdm_lock *lock);
bool rdm_lock_has_rank(enum rdm_rank rank);
bool rdm_lock_has_none_from(enum rdm_rank rank);

/* For a lock in memory that is wiped, where zero is a lock that nobody has. */
static inline void rdm_lock_set_rank(struct rdm_lock *lock, enum rdm_rank rank)
{
#ifdef RDM_CHECKING
	__atomic_store_n(&lock->rank, rank, __ATOMIC_RELAXED);
#else
	(void)lock;
	(void)rank;
#endif
}

static inline void rdm_lock_init(struct rdm_lock *lock, enum rdm_rank rank)
{
	pthread_mutex_init(&lock->mutex, NULL);
	rdm_lock_set_rank(lock, rank);
#ifdef RDM_CHECKING
	lock->owner = NULL;
#endif
}

/* Nobody has it, and nobody wants it. */
static inline void rdm_lock_destroy(struct rdm_lock *lock)
{
#ifdef RDM_CHECKING
	rdm_assert(!lock->owner);
#endif
	pthread_mutex_destroy(&lock->mutex);
}

/* For a thread that cannot be cancelled anyway, because it is inside the gate or has another lock. */
static inline void rdm_lock_take_inner(struct rdm_lock *lock)
{
#ifdef RDM_CHECKING
	rdm_lock_check_rank(lock->rank);
#endif
	pthread_mutex_lock(&lock->mutex);
#ifdef RDM_CHECKING
	rdm_lock_note_taken(lock);
#endif
}

static inline bool rdm_lock_try_inner(struct rdm_lock *lock)
{
	bool taken = !pthread_mutex_trylock(&lock->mutex);

#ifdef RDM_CHECKING
	if (taken)
		rdm_lock_note_taken(lock);
#endif
	return taken;
}

static inline void rdm_lock_release_inner(struct rdm_lock *lock)
{
#ifdef RDM_CHECKING
	rdm_lock_note_released(lock);
#endif
	pthread_mutex_unlock(&lock->mutex);
}

static inline void rdm_lock_take(struct rdm_lock *lock)
{
	rdm_cancel_off();
	rdm_lock_take_inner(lock);
}

/* Of any rank: who does not wait cannot wait for ever. */
static inline bool rdm_lock_try(struct rdm_lock *lock)
{
	rdm_cancel_off();
	if (rdm_lock_try_inner(lock))
		return true;
	rdm_cancel_on();
	return false;
}

static inline void rdm_lock_release(struct rdm_lock *lock)
{
	rdm_lock_release_inner(lock);
	rdm_cancel_on();
}

/* Lets it go while it waits. */
static inline void rdm_lock_wait(struct rdm_lock *lock, pthread_cond_t *condition)
{
#ifdef RDM_CHECKING
	rdm_lock_note_released(lock);
#endif
	pthread_cond_wait(condition, &lock->mutex);
#ifdef RDM_CHECKING
	rdm_lock_note_taken(lock);
#endif
}

/* In a child whose thread pointer is another than its parent's: what the lock's owner was, it is. */
static inline void rdm_lock_adopt(struct rdm_lock *lock)
{
#ifdef RDM_CHECKING
	if (lock->owner && !rdm_lock_is_mine(lock)) {
		lock->owner = NULL;
		rdm_lock_note_taken(lock);
	}
#else
	(void)lock;
#endif
}

/*
 * For a fork handler, which releases what it got only. False: it is taken to be this thread's,
 * which a signal handler has interrupted (interrupted.h).
 */
bool rdm_lock_before_fork(struct rdm_lock *lock);

#endif
