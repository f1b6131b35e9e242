/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

/*
 * A subject of the bench is a program: bench/subjects/NAME. bench/run starts it
 * as a *worker* and asks it, line by line, to set a case up, to run it, and to
 * take it down; it lets all subjects take turns.
 *
 * Its source defines what the subject can do and ends with #include "loops.h",
 * which has main() and the timed loops: they call the subject directly, as a
 * program of a user's would. Required:
 *
 *	#define SUBJECT_NAME "name"
 *	static const char *subject_open(void);
 *		once, before all else; NULL, or why the subject is absent here
 *
 * Each of the following makes works possible; what is not defined is reported
 * as not measured:
 *
 *	#define SUBJECT_ALLOC 1          pair, batch32, batch1024, crossthread;
 *	                                 and for bench/run scaling: batch, cross
 *	static inline void *subject_alloc(size_t size);
 *	static inline void subject_free(void *ptr, size_t size);
 *
 *	#define SUBJECT_READY 1          ready: a block, and its key on one rail
 *	static inline void *subject_ready(size_t size, uint64_t *key);
 *	static inline void subject_ready_free(void *ptr, size_t size, uint64_t key);
 *
 *	#define SUBJECT_KEY 1            key
 *	static const char *subject_key_set(struct bench_range *range, unsigned n);
 *		registers n pieces of memory, says where they are
 *	static inline uint64_t subject_key(const void *ptr);
 *	static void subject_key_unset(struct bench_range *range, unsigned n);
 *
 *	#define SUBJECT_LIVE 1           maps: what n live buffers cost
 *	static const char *subject_live(size_t size, size_t n, struct bench_live *live);
 *		makes n buffers ready, fills *live, gives them back
 *
 *	#define SUBJECT_WORKS { "reserve", set, run, unset }, ...
 *		works of its own, see struct bench_work
 *
 * Hooks:
 *
 *	#define SUBJECT_VERSION string expression      after open
 *	#define SUBJECT_CASE 1
 *	static const char *subject_case(const struct bench_case *c);
 *		before a case is set up, e.g. to make a pool of blocks of c->size;
 *		NULL, or why the subject has not got this case
 *	static void subject_case_end(const struct bench_case *c);
 *	#define SUBJECT_THREAD 1
 *	static void subject_thread_begin(void);   in each thread but main()'s
 *	static void subject_thread_end(void);
 *
 * A string that says why something cannot be is one line; bench_why() makes one.
 * What a library prints on stdout goes to stderr.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bench_case {
	const char *work;
	size_t size; /* bytes: of a block, or of a pool; 0: has none */
	unsigned threads;
	unsigned slabs; /* key: pieces of registered memory */
};

struct bench_range {
	char *base;
	size_t length;
	void *owner; /* the subject's own */
};

struct bench_live {
	size_t made;    /* buffers, fewer than asked when it could not go on */
	size_t vmas;    /* that came with them */
	size_t regions; /* registered with the device or its stand-in */
	size_t slabs;   /* of the allocator, if it has such */
	char why[160];  /* made < n: why */
};

/* One thread of a loop. */
struct bench_thread {
	const struct bench_case *c;
	uint64_t operations; /* to do; then what was done */
	unsigned number;
	uint64_t begin, end; /* ns */
};
typedef void bench_loop(struct bench_thread *thread);

/* Works other than loops. set may be NULL; unset is called only after a set that worked. */
struct bench_work {
	const char *name;
	/* NULL, or why it cannot be done */
	const char *(*set)(const struct bench_case *c);
	/* Does it `operations` times (or a few more), adds nanoseconds and what was done. */
	const char *(*run)(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			   uint64_t *done);
	void (*unset)(const struct bench_case *c);
};

struct bench_subject {
	const char *name;
	const char *(*open)(void);
	const char *(*version)(void);
	const char *(*begin_case)(const struct bench_case *c);
	void (*end_case)(const struct bench_case *c);
	const char *(*live)(size_t size, size_t n, struct bench_live *live);
	const struct bench_work *works; /* the last one has no name */
};

int bench_main(const struct bench_subject *subject);

uint64_t bench_now(void);
/* One line in a buffer that the next call takes again. */
const char *bench_why(const char *format, ...) __attribute__((format(printf, 1, 2)));
__attribute__((noreturn, format(printf, 1, 2))) void bench_die(const char *format, ...);

/* Runs the loop in c->threads threads that begin together; ns is the time of all. */
void bench_threads(const struct bench_case *c, bench_loop *loop, uint64_t operations, uint64_t *ns,
		   uint64_t *done, void (*begin)(void), void (*end)(void));
/* For bench_main(): the CPUs that this process may use; whether loops warm up. */
void bench_cpus_find(void);
extern bool bench_warm;
/* Thread `number` stays on one CPU, the next thread on the next. */
void bench_stay(unsigned number);
/* Any of them again: threads of the subject's own inherit what its caller has. */
void bench_roam(void);
unsigned bench_cpus(void);

/* Memory of the worker's own, from the kernel: no subject must notice it. */
void *bench_pages(size_t length);
void bench_pages_free(void *addr, size_t length);
/* Lines of /proc/self/maps. */
size_t bench_vmas(void);

struct bench_random {
	uint64_t state;
};
/* 0 to n - 1 */
uint64_t bench_below(struct bench_random *random, uint64_t n);

/* Pointers into the ranges, in random order, 64 bytes aligned. */
#define BENCH_KEYS ((size_t)1 << 14)
void bench_pointers(const void **pointer, const struct bench_range *range, unsigned n);

/* Keeps the compiler from dropping what was computed for it. */
void bench_keep(uint64_t value);

/*
 * fork(), so many times, as a work's run(): the time until it returns in the parent. The
 * child exits at once. NULL, or why it failed.
 */
const char *bench_forks(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			uint64_t *done);

#endif
