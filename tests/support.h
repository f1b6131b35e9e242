/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

/* What the tests share. A test is a program that exits with T_PASS, T_FAIL or T_SKIP. */

#include "rdmalloc.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { T_PASS = 0, T_FAIL = 1, T_SKIP = 77 };

#define T_MIB ((size_t)1 << 20)
#define T_SLAB (2 * T_MIB) /* the smallest slab: the reserve's granule */

#if defined(__SANITIZE_ADDRESS__)
#define T_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define T_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) && !defined(T_ASAN)
#define T_ASAN 1
#endif
#if __has_feature(thread_sanitizer) && !defined(T_TSAN)
#define T_TSAN 1
#endif
#endif
#ifndef T_ASAN
#define T_ASAN 0
#endif
#ifndef T_TSAN
#define T_TSAN 0
#endif
#define T_SANITIZED (T_ASAN || T_TSAN)

/* Ends the process with T_FAIL, in a child too, without running exit handlers. */
void t_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* Ends the process with T_SKIP and the reason. */
void t_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* One line on stdout, at once: a fork must not print it twice. */
void t_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define T_CHECK(cond)                                            \
	do {                                                     \
		if (!(cond))                                     \
			t_fail(__FILE__, __LINE__, "%s", #cond); \
	} while (0)
#define T_CHECKF(cond, ...)                                      \
	do {                                                     \
		if (!(cond))                                     \
			t_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
/* As it is in memory: clang believes that malloc() and its like never write it. */
#define T_ERRNO (*(volatile int *)&errno)
/* expr must be false, NULL or -1 (pass it as a condition) and leave errno at err. */
#define T_FAILS(failed, err)                                                             \
	do {                                                                             \
		T_ERRNO = 0;                                                             \
		T_CHECKF(failed, "%s did not fail", #failed);                            \
		T_CHECKF(T_ERRNO == (err), "%s: errno %d, not " #err, #failed, T_ERRNO); \
	} while (0)

/* RDM_TEST_QUICK: the short form of a long test, which says so. */
bool t_quick(void);
/* RDM_TEST_SEED or a new one; printed. */
uint64_t t_seed(void);

struct t_rng {
	uint64_t state;
};
uint64_t t_rand(struct t_rng *rng);
/* 0 to n - 1 */
uint64_t t_below(struct t_rng *rng, uint64_t n);
/* lo to hi, each power of two as likely as the next */
size_t t_log_uniform(struct t_rng *rng, size_t lo, size_t hi);

size_t t_page(void);
/* Whether the limit of locked memory lets this user pin so many bytes. */
bool t_can_lock(size_t bytes);

/* Starts the program again with this in RDMALLOC_CONF, if nothing is there. */
void t_configure(char **argv, const char *conf);

/* This program in the process's place, with that in RDMALLOC_CONF and one argument; T_FAIL. */
int t_again(const char *conf, size_t argument);

/* What is open, mapped and resident in this process. */
size_t t_vmas(uintptr_t lo, uintptr_t hi);
size_t t_vmas_total(void);
size_t t_fds(void);
size_t t_rss(void);

/* The first 64 GiB of the reserve that has a slab at this address: nobody else maps anything near it. */
void t_reserve_of(uintptr_t addr, uintptr_t *lo, uintptr_t *hi);

/* Whether reading (or writing the byte back at) p is SIGSEGV or SIGBUS. */
bool t_faults(const volatile void *p, bool write);

/* Runs fn in a child, which must not exit otherwise than by returning. */
int t_fork(int (*fn)(void *arg), void *arg);
/* The same, and the child must return T_PASS. */
void t_fork_passes(int (*fn)(void *arg), void *arg);

/* A child with its standard error caught. */
struct t_caught {
	int status; /* as waitpid() gives it */
	size_t len;
	char err[16384];
};
void t_catch(struct t_caught *caught, int (*fn)(void *arg), void *arg);
size_t t_lines(const char *text);
/* The child was aborted and said one line that contains the pointer and each word. */
void t_caught_abort(const struct t_caught *caught, const void *ptr, const char *word);
/* The child returned T_PASS and said one line with each of two words (NULL: any). */
void t_caught_line(const struct t_caught *caught, const char *a, const char *b);

/* A pipe that holds a page reference of its own, as a device would: vmsplice. */
struct t_pin {
	int fd[2];
	size_t len;
};
void t_pin_take(struct t_pin *pin, void *addr, size_t len);
/* What the pinned memory holds, into buf (len bytes). */
void t_pin_read(struct t_pin *pin, void *buf);

/* An event that crosses fork(). */
struct t_event {
	int fd[2];
};
void t_event_init(struct t_event *event);
void t_event_set(struct t_event *event);
/* Without a limit: who hangs is ended by tests/watch. */
void t_event_wait(struct t_event *event);
void t_event_destroy(struct t_event *event);

/*
 * Two threads meet: one is inside something, the other comes and must not get through while the
 * first is there. No time says that, because a thread that has no CPU does not get through
 * either. So the first waits until the other has got through, or sleeps on its way.
 */
struct t_meeting {
	struct t_event inside, through;
	_Atomic(pid_t) coming;
	_Atomic(bool) armed, overtaken;
};
void t_meeting_init(struct t_meeting *meeting);
void t_meeting_destroy(struct t_meeting *meeting);
/* Of the first, once for each t_meeting_init(). */
void t_meeting_stay(struct t_meeting *meeting);
/* Of the other: waits until the first is inside; what comes next must not get through. */
void t_meeting_come(struct t_meeting *meeting);
/* Of the other, in the same process: it has got through. */
void t_meeting_through(struct t_meeting *meeting);

/*
 * Spurts of work: one starts in every thread that awaits it, so that what its starter does next
 * comes in the middle of it.
 */
struct t_spurts {
	pthread_mutex_t lock;
	pthread_cond_t starts;
	uint64_t number;
};
#define T_SPURTS_INIT                                                  \
	{                                                              \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 \
	}
void t_spurts_start(struct t_spurts *spurts);
/* Waits for one later than *last, which begins with 0, and leaves its number there. */
void t_spurts_await(struct t_spurts *spurts, uint64_t *last);

#define T_REGIONS 8192

struct t_region {
	_Atomic(uintptr_t) base;
	_Atomic(size_t) length;
	_Atomic(bool) live;
	uint32_t key;
};

/* A registrar that records each registration, and fails when asked. */
struct t_recorder {
	struct rdm_registrar ops;
	struct t_region region[T_REGIONS]; /* slots are taken again */
	_Atomic(size_t) used;              /* slots ever taken */
	_Atomic(size_t) regs, deregs, live;
	size_t fail_reg; /* the n-th call of reg from now fails; 0: none */
	int fail_errno;
	size_t fail_dereg; /* so many calls of dereg from now fail with EIO */
	bool any;          /* memory of the program's own: not whole pages, and some of it twice */
	_Atomic(int) inside;
	void (*on_reg)(struct t_recorder *recorder, void *addr, size_t length);
	void (*on_dereg)(struct t_recorder *recorder, void *addr, size_t length);
	void *user;
};
struct t_recorder *t_recorder_new(const char *name);
void t_recorder_free(struct t_recorder *recorder);
/* Adds it to the pool; fails the test if that does. */
int t_recorder_add(struct t_recorder *recorder, rdm_pool *pool);
/* The live registration that covers all of [addr, addr + len), or NULL. */
const struct t_region *t_recorder_find(struct t_recorder *recorder, const void *addr, size_t len);
/* Whether [lo, hi) touches a live registration. */
bool t_recorder_touches(struct t_recorder *recorder, uintptr_t lo, uintptr_t hi);
/* Writes a byte over all that is registered, as a peer's RDMA write would. */
void t_recorder_fill(struct t_recorder *recorder, int byte);

/* A pool, or the test fails. slab and limit: 0 for the default. */
rdm_pool *t_pool(const char *name, unsigned backing, unsigned fork_policy, size_t slab,
		 size_t limit);
void *t_malloc(rdm_pool *pool, size_t size);
/* So many blocks (up to 128) and then none, without another malloc. */
void t_malloc_and_free(rdm_pool *pool, size_t size, unsigned count);
struct rdm_stats t_stats(rdm_pool *pool);
/* The audit's violations; prints every count that is not 0. */
size_t t_audit(rdm_pool *pool);

/* Bytes that tell a block and an offset from any other. */
void t_pattern_fill(void *addr, size_t len, uint64_t id);
/* The first offset that differs, or len. */
size_t t_pattern_check(const void *addr, size_t len, uint64_t id);
bool t_is_byte(const void *addr, size_t len, int byte);

#endif
