/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker for bench/scaling: loops in many threads; -DMALLOC: of malloc. */
#include "config.h"

#include "rdmalloc.h"
#include "ring.h"
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SUBJECT_ALLOC 1

#ifdef MALLOC

#define SUBJECT_NAME "malloc"

static const char *subject_open(void)
{
	return NULL;
}

static inline void *subject_alloc(size_t size)
{
	return malloc(size);
}

static inline void subject_free(void *ptr, size_t size)
{
	(void)size;
	free(ptr);
}

#else

#define SUBJECT_NAME "rdmalloc"
#define SUBJECT_VERSION rdm_version()
#define SUBJECT_CASE 1

static rdm_pool *pool;

static const char *subject_open(void)
{
	pool = rdm_pool_create(NULL);
	return pool ? NULL : bench_why("no pool: %s", strerror(errno));
}

static const char *subject_case(const struct bench_case *c)
{
	(void)c;
	return NULL;
}

static void subject_case_end(const struct bench_case *c)
{
	(void)c;
	if (rdm_pool_trim(pool, 0))
		bench_die("rdm_pool_trim: %s", strerror(errno));
}

static inline void *subject_alloc(size_t size)
{
	return rdm_malloc(pool, size);
}

static inline void subject_free(void *ptr, size_t size)
{
	(void)size;
	rdm_free(ptr);
}

#endif

/* Of one thread: sixteen of them fit into any machine. */
#define BATCH 1024
#define BATCH_BYTES ((size_t)128 << 20)

static bench_loop loop_batch, loop_cross;

static const char *run_batch(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			     uint64_t *done)
{
	bench_threads(c, loop_batch, operations, ns, done, NULL, NULL);
	return NULL;
}

static const char *run_cross(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			     uint64_t *done)
{
	bench_threads(c, loop_cross, operations, ns, done, NULL, NULL);
	return NULL;
}

static struct bench_ring *ring;

static const char *set_cross(const struct bench_case *c)
{
	if (c->threads > 1 && c->threads % 2)
		return "it takes pairs of threads";
	ring = bench_pages((c->threads + 1) / 2 * sizeof(*ring));
	return NULL;
}

static void unset_cross(const struct bench_case *c)
{
	bench_pages_free(ring, (c->threads + 1) / 2 * sizeof(*ring));
}

#define SUBJECT_WORKS                                      \
	{ "batch", NULL, run_batch, NULL },                \
	{                                                  \
		"cross", set_cross, run_cross, unset_cross \
	}

#include "loops.h"

static void loop_batch(struct bench_thread *thread)
{
	size_t size = thread->c->size;
	unsigned batch = BATCH_BYTES / size < BATCH ? (unsigned)(BATCH_BYTES / size) : BATCH;

	batches(thread, batch);
}

/* One thread alone is its own consumer, so many blocks behind. */
#define BEHIND (BENCH_RING / 2)

static void loop_alone(struct bench_thread *thread)
{
	size_t size = thread->c->size;
	uint64_t rounds = (thread->operations + BEHIND - 1) / BEHIND;

	for (uint64_t i = 0; i < rounds; i++) {
		for (unsigned j = 0; j < BEHIND; j++)
			bench_put(ring, bench_alloc(size));
		for (unsigned j = 0; j < BEHIND; j++)
			subject_free(bench_get(ring), size);
	}
	thread->operations = rounds * BEHIND;
}

static void loop_cross(struct bench_thread *thread)
{
	struct bench_ring *mine = &ring[thread->number / 2];
	size_t size = thread->c->size;

	if (thread->c->threads == 1)
		loop_alone(thread);
	else if (thread->number % 2)
		for (uint64_t i = 0; i < thread->operations; i++)
			subject_free(bench_get(mine), size);
	else
		for (uint64_t i = 0; i < thread->operations; i++)
			bench_put(mine, bench_alloc(size));
}
