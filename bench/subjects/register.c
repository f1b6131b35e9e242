/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Register-per-buffer: what a program does that has no pool. Each buffer comes
 * from malloc, is pinned, used, unpinned, freed. FORK adds what ibv_fork_init makes
 * of that, two calls of madvise; the tree of ranges that libibverbs keeps for it is
 * left out.
 */
#include "config.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "subjects/buffer.h"
#include "worker.h"

#ifdef FORK
#define SUBJECT_NAME "register-fork"
#else
#define SUBJECT_NAME "register"
#endif
#define SUBJECT_VERSION "io_uring"
#define SUBJECT_READY 1
#define SUBJECT_LIVE 1
#define SUBJECT_CASE 1

/* What the kernel takes in one table: 100,000 buffers need more than one ring. */
#define SLOTS 16384U
#define RINGS 8U

static struct io_uring ring[RINGS];
static unsigned rings;
/* The step that failed. */
static const char *step;

/* Slots for n buffers. */
static const char *rings_open(size_t n)
{
	int error;

	while (rings * (size_t)SLOTS < n) {
		if (rings == RINGS)
			return bench_why("no more than %u registrations", RINGS * SLOTS);
		error = -io_uring_queue_init(1, &ring[rings], 0);
		if (error)
			return bench_why("no io_uring: %s", strerror(error));
		error = -io_uring_register_buffers_sparse(&ring[rings], SLOTS);
		if (error) {
			io_uring_queue_exit(&ring[rings]);
			return bench_why("no table of fixed buffers: %s", strerror(error));
		}
		rings++;
	}
	return NULL;
}

/* An errno, or 0. */
static inline int pin(size_t slot, void *addr, size_t length)
{
	struct iovec buffer = { .iov_base = addr, .iov_len = length };
	__u64 tag = 0;
	int done = io_uring_register_buffers_update_tag(&ring[slot / SLOTS],
							(unsigned)(slot % SLOTS), &buffer, &tag, 1);

	return done == 1 ? 0 : done < 0 ? -done : EIO;
}

static const char *subject_open(void)
{
	buffer_setup();
	return rings_open(1);
}

static const char *subject_case(const struct bench_case *c)
{
	return c->threads == 1 ? NULL : "it has one slot, so one thread";
}

static void subject_case_end(const struct bench_case *c)
{
	(void)c;
}

static inline int mark(void *addr, size_t size, int advice)
{
#ifdef FORK
	step = "madvise";
	return madvise(addr, (size + buffer_page - 1) & -buffer_page, advice) ? errno : 0;
#else
	(void)addr;
	(void)size;
	(void)advice;
	return 0;
#endif
}

static inline void drop(void *ptr, size_t size, uint64_t key)
{
	if (pin(key, NULL, 0))
		bench_die("slot %zu stays pinned", (size_t)key);
	if (mark(ptr, size, MADV_DOFORK))
		bench_die("madvise(MADV_DOFORK): %s", strerror(errno));
	free(ptr);
}

/* An errno, or 0. */
static inline int make(void **ptr, size_t size, uint64_t key)
{
	int error;

	step = "malloc";
	*ptr = buffer_alloc(size);
	if (!*ptr)
		return ENOMEM;
	error = mark(*ptr, size, MADV_DONTFORK);
	if (!error) {
		step = "the registration";
		error = pin(key, *ptr, size);
		if (!error)
			return 0;
		mark(*ptr, size, MADV_DOFORK);
	}
	free(*ptr);
	return error;
}

static inline void *subject_ready(size_t size, uint64_t *key)
{
	void *block;
	int error;

	*key = 0;
	error = make(&block, size, 0);
	if (error)
		bench_die("%s: %s", step, strerror(error));
	return block;
}

static inline void subject_ready_free(void *ptr, size_t size, uint64_t key)
{
	drop(ptr, size, key);
}

static const char *subject_live(size_t size, size_t n, struct bench_live *live)
{
	const char *why = rings_open(n);
	size_t vmas, i;
	int error = 0;
	void **block;

	if (why)
		return why;
	block = bench_pages(n * sizeof(*block));
	vmas = bench_vmas();
	for (i = 0; i < n && !error; i++)
		error = make(&block[i], size, i);
	live->made = live->regions = error ? i - 1 : i;
	live->vmas = bench_vmas() - vmas;
	if (error)
		snprintf(live->why, sizeof(live->why), "%s: %s; the process has %zu VMAs", step,
			 strerror(error), vmas + live->vmas);
	for (i = 0; i < live->made; i++)
		drop(block[i], size, i);
	bench_pages_free(block, n * sizeof(*block));
	return NULL;
}

#include "loops.h"
