/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LOCK_H
#define RDM_LOCK_H

/*
 * Locks with a rank. A thread takes a lock only of a higher rank than any that it has; the
 * checking build sees to that at each acquisition. Nobody who has one can be cancelled (cancel.h).
 *
 * A lock knows whose it is, in every build: fork() may be called by a signal handler that
 * has interrupted the owner, and then the handlers must not wait for it. Neither must who cannot
 * know that fork() does not wait for him: rdm_lock_take_for() gives up. No function of the
 * C library's waits here, which some would make a cancellation point, and none allocates.
 *
 * While fork() clones, the handlers hold none of these: what is changed inside the quiesce lock
 * or the gate rests, because these are empty, and the others are leaves, which a child
 * takes away from threads that it does not have (rdm_lock_forget_others()).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/contract.h"
#include "sync/cancel.h"

/* From the outermost to the leaves. */
enum rdm_rank {
	RDM_RANK_NONE,
	RDM_RANK_TURN,       /* who gets the quiesce lock next */
	RDM_RANK_QUIESCE,    /* pools, slabs, registrations, the reserve */
	RDM_RANK_BACKGROUND, /* a step of the background thread's work */
	RDM_RANK_PURGE,      /* returning runs of jemalloc's */
	RDM_RANK_REGISTRY,   /* which thread has which caches */
	RDM_RANK_DEPOT,
	RDM_RANK_FILL, /* what is populated of a batch */
	RDM_RANK_FORK, /* what is made ready for children */
	RDM_RANK_SET,  /* what is carved of a set of slabs */
	RDM_RANK_PINS, /* what programs registered themselves */
	RDM_RANK_REUSE,
	RDM_RANKS,
};

struct rdm_lock {
	/* The owner's number, and the lowest bit: somebody may sleep. 0: nobody has it. */
	uint32_t word;
#ifdef RDM_CHECKING
	enum rdm_rank rank;
#endif
};

#ifdef RDM_CHECKING
#define RDM_LOCK_INIT(its_rank)    \
	{                          \
		.rank = (its_rank) \
	}

/* Before a lock is waited for; once it is had; before it is let go. */
void rdm_lock_check_rank(enum rdm_rank rank);
void rdm_lock_note_taken(enum rdm_rank rank);
void rdm_lock_note_released(const struct rdm_lock *lock);
#else
#define RDM_LOCK_INIT(its_rank) \
	{                       \
		.word = 0       \
	}
#endif

/* Of the calling thread. */
struct rdm_lock_self {
	uint32_t number; /* even; 0: it has none yet */
	uint32_t held;   /* locks that it has, or is about to have */
};
#ifdef RDM_PRELOAD
extern __thread struct rdm_lock_self rdm_lock_self
	__attribute__((visibility("hidden"), tls_model("initial-exec")));
#else
/* A library that is loaded late may find no room in the threads' static blocks. */
extern __thread struct rdm_lock_self rdm_lock_self __attribute__((visibility("hidden")));
#endif

/* Whether the calling thread has it. */
bool rdm_lock_is_mine(const struct rdm_lock *lock);
/* Whether it has any, or is about to: what a signal handler can have interrupted. */
bool rdm_lock_has_any(void);
/* For assertions: whether the calling thread has one of that rank; has none from it on. */
bool rdm_lock_has_rank(enum rdm_rank rank);
bool rdm_lock_has_none_from(enum rdm_rank rank);

/* In a lock: where the calling thread cannot have it at once. */
void rdm_lock_take_slowly(struct rdm_lock *lock);
void rdm_lock_wake(struct rdm_lock *lock);
uint32_t rdm_lock_new_number(void);

static inline uint32_t rdm_lock_number(void)
{
	uint32_t number = rdm_lock_self.number;

	return __builtin_expect(number != 0, 1) ? number : rdm_lock_new_number();
}

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
	lock->word = 0;
	rdm_lock_set_rank(lock, rank);
}

/* Nobody has it, and nobody wants it. */
static inline void rdm_lock_destroy(const struct rdm_lock *lock)
{
	rdm_assert(!lock->word);
}

static inline bool rdm_lock_try_quickly(struct rdm_lock *lock)
{
	uint32_t nobody = 0;

	/* Before it is so, and until it has ceased to be: a signal handler may fork in between. */
	rdm_lock_self.held++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return __builtin_expect(__atomic_compare_exchange_n(&lock->word, &nobody, rdm_lock_number(),
							    false, __ATOMIC_SEQ_CST,
							    __ATOMIC_RELAXED),
				1);
}

/* For a thread that cannot be cancelled anyway, because it is inside the gate or has another lock. */
static inline void rdm_lock_take_inner(struct rdm_lock *lock)
{
#ifdef RDM_CHECKING
	rdm_lock_check_rank(lock->rank);
#endif
	if (!rdm_lock_try_quickly(lock))
		rdm_lock_take_slowly(lock);
#ifdef RDM_CHECKING
	rdm_lock_note_taken(lock->rank);
#endif
}

static inline bool rdm_lock_try_inner(struct rdm_lock *lock)
{
	if (!rdm_lock_try_quickly(lock)) {
		rdm_lock_self.held--;
		return false;
	}
#ifdef RDM_CHECKING
	rdm_lock_note_taken(lock->rank);
#endif
	return true;
}

static inline void rdm_lock_release_inner(struct rdm_lock *lock)
{
#ifdef RDM_CHECKING
	rdm_lock_note_released(lock);
#endif
	if (__builtin_expect(__atomic_exchange_n(&lock->word, 0, __ATOMIC_SEQ_CST) & 1, 0))
		rdm_lock_wake(lock);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	rdm_lock_self.held--;
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

/*
 * As take, of any rank, and gives up once `until` says so, which is asked now and then. False:
 * it gave up, or the lock is the calling thread's own already.
 */
bool rdm_lock_take_until(struct rdm_lock *lock, bool (*until)(void *context), void *context);

/* In a child: takes it away from a thread that there is not any more. */
void rdm_lock_forget_others(struct rdm_lock *lock);

/* Something that is waited for with a lock. */
struct rdm_condition {
	uint32_t changes;
};
/* Lets the lock go while it waits, and may come back for nothing. */
void rdm_lock_wait(struct rdm_lock *lock, struct rdm_condition *condition);
/* For all who wait; with the lock. */
void rdm_lock_announce(struct rdm_condition *condition);

#endif
