/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Most locks are held for less time than it takes to fall asleep. */
#define SPINS 100
/* How often who may give up looks whether to. */
#define LOOK_NS 1000000

#ifdef RDM_PRELOAD
__thread struct rdm_lock_self rdm_lock_self __attribute__((tls_model("initial-exec")));
#else
__thread struct rdm_lock_self rdm_lock_self;
#endif

static uint32_t last_number;

uint32_t rdm_lock_new_number(void)
{
	uint32_t number;

	/* After 2^31 threads they begin again, and nobody's is 0. */
	do
		number = __atomic_add_fetch(&last_number, 2, __ATOMIC_RELAXED);
	while (!number);
	rdm_lock_self.number = number;
	return number;
}

bool rdm_lock_is_mine(const struct rdm_lock *lock)
{
	uint32_t owner = __atomic_load_n(&lock->word, __ATOMIC_RELAXED) & ~(uint32_t)1;

	return owner && owner == rdm_lock_self.number;
}

bool rdm_lock_has_any(void)
{
	return rdm_lock_self.held != 0;
}

static void sleep_on(uint32_t *word, uint32_t value, const struct timespec *most)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, most, NULL, 0);
	errno = saved;
}

static void wake(uint32_t *word, int count)
{
	int saved = errno;

	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
	errno = saved;
}

void rdm_lock_wake(struct rdm_lock *lock)
{
	wake(&lock->word, 1);
}

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb");
#endif
}

static bool try_for_a_while(struct rdm_lock *lock)
{
	for (unsigned i = 0; i < SPINS; i++) {
		uint32_t nobody = 0;

		if (!__atomic_load_n(&lock->word, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&lock->word, &nobody, rdm_lock_number(), false,
						__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return true;
		relax();
	}
	return false;
}

/* Takes it, as one who has slept and does not know whether others do; or sleeps once. */
static bool take_or_sleep(struct rdm_lock *lock, const struct timespec *most)
{
	uint32_t word = 0;

	if (__atomic_compare_exchange_n(&lock->word, &word, rdm_lock_number() | 1, false,
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return true;
	if (word & 1 || __atomic_compare_exchange_n(&lock->word, &word, word | 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		sleep_on(&lock->word, word | 1, most);
	return false;
}

void rdm_lock_take_slowly(struct rdm_lock *lock)
{
	rdm_assert(!rdm_lock_is_mine(lock));
	if (try_for_a_while(lock))
		return;
	while (!take_or_sleep(lock, NULL))
		;
}

/* The lock is had, or was waited for in vain. */
static bool settle(struct rdm_lock *lock, bool taken)
{
	if (!taken) {
		/* It may have been woken in the place of somebody else. */
		rdm_lock_wake(lock);
		rdm_lock_self.held--;
		rdm_cancel_on();
		return false;
	}
#ifdef RDM_CHECKING
	rdm_lock_note_taken(lock->rank);
#endif
	return true;
}

bool rdm_lock_take_until(struct rdm_lock *lock, bool (*until)(void *context), void *context)
{
	const struct timespec look = { .tv_nsec = LOOK_NS };
	bool taken;

	if (rdm_lock_is_mine(lock))
		return false;
	rdm_cancel_off();
	rdm_lock_self.held++;
	taken = try_for_a_while(lock);
	while (!taken && !until(context))
		taken = take_or_sleep(lock, &look);
	return settle(lock, taken);
}

void rdm_lock_forget_others(struct rdm_lock *lock)
{
	if (!rdm_lock_is_mine(lock))
		__atomic_store_n(&lock->word, 0, __ATOMIC_RELAXED);
}

void rdm_lock_wait(struct rdm_lock *lock, struct rdm_condition *condition)
{
	uint32_t changes = __atomic_load_n(&condition->changes, __ATOMIC_RELAXED);

	rdm_assert(rdm_lock_is_mine(lock));
	rdm_cancel_off();
	rdm_lock_release(lock);
	sleep_on(&condition->changes, changes, NULL);
	rdm_lock_take(lock);
	rdm_cancel_on();
}

void rdm_lock_announce(struct rdm_condition *condition)
{
	__atomic_fetch_add(&condition->changes, 1, __ATOMIC_RELAXED);
	wake(&condition->changes, INT_MAX);
}

#ifdef RDM_CHECKING

/* How many locks of each rank the calling thread has. */
#ifdef RDM_PRELOAD
static __thread unsigned held[RDM_RANKS] __attribute__((tls_model("initial-exec")));
#else
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

void rdm_lock_check_rank(enum rdm_rank rank)
{
	rdm_assert(rank > RDM_RANK_NONE && rank < RDM_RANKS);
	rdm_assert(rdm_lock_has_none_from(rank));
}

void rdm_lock_note_taken(enum rdm_rank rank)
{
	held[rank]++;
}

void rdm_lock_note_released(const struct rdm_lock *lock)
{
	rdm_assert(rdm_lock_is_mine(lock));
	rdm_assert(held[lock->rank]);
	held[lock->rank]--;
}

#endif
