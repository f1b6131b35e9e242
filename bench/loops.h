/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

/* The timed loops and main() of a subject: included at the end of its source, see worker.h. */

#include "ring.h"
#include "worker.h"

#ifdef SUBJECT_THREAD
#define BENCH_BEGIN subject_thread_begin
#define BENCH_END subject_thread_end
#else
#define BENCH_BEGIN NULL
#define BENCH_END NULL
#endif

/* A loop as a work; its first turns are not timed. */
#define BENCH_LOOP_WORK(name)                                                                \
	static const char *run_##name(const struct bench_case *c, uint64_t operations,       \
				      uint64_t *ns, uint64_t *done)                          \
	{                                                                                    \
		bench_threads(c, loop_##name, operations, ns, done, BENCH_BEGIN, BENCH_END); \
		return NULL;                                                                 \
	}

#ifdef SUBJECT_ALLOC

/* Every user writes to what he allocates; so here, in every subject, one byte of it. */
static inline void *bench_alloc(size_t size)
{
	volatile char *block = subject_alloc(size);

	if (__builtin_expect(!block, 0))
		bench_die("no memory for a block of %zu bytes", size);
	*block = 1;
	return (void *)block;
}

static void loop_pair(struct bench_thread *thread)
{
	size_t size = thread->c->size;

	for (uint64_t i = 0; i < thread->operations; i++)
		subject_free(bench_alloc(size), size);
}
BENCH_LOOP_WORK(pair)

static inline void batches(struct bench_thread *thread, unsigned batch)
{
	size_t size = thread->c->size;
	uint64_t rounds = (thread->operations + batch - 1) / batch;
	void *block[1024];

	for (uint64_t i = 0; i < rounds; i++) {
		for (unsigned j = 0; j < batch; j++)
			block[j] = bench_alloc(size);
		for (unsigned j = 0; j < batch; j++)
			subject_free(block[j], size);
	}
	thread->operations = rounds * batch;
}

static void loop_batch32(struct bench_thread *thread)
{
	batches(thread, 32);
}
BENCH_LOOP_WORK(batch32)

static void loop_batch1024(struct bench_thread *thread)
{
	batches(thread, 1024);
}
BENCH_LOOP_WORK(batch1024)

/* Of one thread: sixteen of them fit into any machine. */
#define BENCH_BATCH_BYTES ((size_t)128 << 20)

static void loop_batch(struct bench_thread *thread)
{
	size_t most = BENCH_BATCH_BYTES / thread->c->size;

	batches(thread, most < 1024 ? (unsigned)most : 1024);
}
BENCH_LOOP_WORK(batch)

/* One for each pair of threads. */
static struct bench_ring *the_ring;

static size_t ring_bytes(const struct bench_case *c)
{
	return (c->threads + 1) / 2 * sizeof(*the_ring);
}

static void unset_ring(const struct bench_case *c)
{
	bench_pages_free(the_ring, ring_bytes(c));
}

static void loop_crossthread(struct bench_thread *thread)
{
	size_t size = thread->c->size;
	char sum = 0;

	if (thread->number == 0) {
		for (uint64_t i = 0; i < thread->operations; i++)
			bench_put(the_ring, bench_alloc(size));
		return;
	}
	for (uint64_t i = 0; i < thread->operations; i++) {
		char *block = bench_get(the_ring);

		sum += *(volatile char *)block;
		subject_free(block, size);
	}
	(void)sum;
}
BENCH_LOOP_WORK(crossthread)

/*
 * How far the producer gets ahead is chance. All that it may need is allocated once,
 * so that no turn pays for memory of the system's that the others do not.
 */
static void fill_once(size_t size)
{
	void *block[BENCH_RING + 32];
	size_t n = sizeof(block) / sizeof(*block);

	for (size_t i = 0; i < n; i++)
		block[i] = bench_alloc(size);
	for (size_t i = 0; i < n; i++)
		subject_free(block[i], size);
}

static const char *set_crossthread(const struct bench_case *c)
{
	if (c->threads != 2)
		return "it has one producer and one consumer";
	if (bench_cpus() < 2)
		return "there is one CPU only";
	the_ring = bench_pages(ring_bytes(c));
	fill_once(c->size);
	return NULL;
}

/* One thread alone is its own consumer, so many blocks behind. */
#define BENCH_BEHIND (BENCH_RING / 2)

static void loop_alone(struct bench_thread *thread)
{
	size_t size = thread->c->size;
	uint64_t rounds = (thread->operations + BENCH_BEHIND - 1) / BENCH_BEHIND;

	for (uint64_t i = 0; i < rounds; i++) {
		for (unsigned j = 0; j < BENCH_BEHIND; j++)
			bench_put(the_ring, bench_alloc(size));
		for (unsigned j = 0; j < BENCH_BEHIND; j++)
			subject_free(bench_get(the_ring), size);
	}
	thread->operations = rounds * BENCH_BEHIND;
}

static void loop_cross(struct bench_thread *thread)
{
	struct bench_ring *mine = &the_ring[thread->number / 2];
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
BENCH_LOOP_WORK(cross)

static const char *set_cross(const struct bench_case *c)
{
	if (c->threads > 1 && c->threads % 2)
		return "it takes pairs of threads";
	the_ring = bench_pages(ring_bytes(c));
	return NULL;
}

#endif

#ifdef SUBJECT_READY

static void loop_ready(struct bench_thread *thread)
{
	size_t size = thread->c->size;
	uint64_t key, sum = 0;

	for (uint64_t i = 0; i < thread->operations; i++) {
		volatile char *block = subject_ready(size, &key);

		if (__builtin_expect(!block, 0))
			bench_die("no registered memory for a block of %zu bytes", size);
		*block = 1;
		sum += key;
		subject_ready_free((void *)block, size, key);
	}
	bench_keep(sum);
}
BENCH_LOOP_WORK(ready)

#endif

#ifdef SUBJECT_KEY

static struct bench_range *key_range;
static const void **key_pointer;

static void loop_key(struct bench_thread *thread)
{
	size_t at = thread->number * BENCH_KEYS / 2;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < thread->operations; i++, at++)
		sum += subject_key(key_pointer[at % BENCH_KEYS]);
	bench_keep(sum);
}
BENCH_LOOP_WORK(key)

static const char *set_key(const struct bench_case *c)
{
	const char *why;

	key_range = bench_pages(c->slabs * sizeof(*key_range));
	why = subject_key_set(key_range, c->slabs);
	if (why) {
		bench_pages_free(key_range, c->slabs * sizeof(*key_range));
		return why;
	}
	key_pointer = bench_pages(BENCH_KEYS * sizeof(*key_pointer));
	bench_pointers(key_pointer, key_range, c->slabs);
	return NULL;
}

static void unset_key(const struct bench_case *c)
{
	subject_key_unset(key_range, c->slabs);
	bench_pages_free(key_range, c->slabs * sizeof(*key_range));
	bench_pages_free(key_pointer, BENCH_KEYS * sizeof(*key_pointer));
}

#endif

static const struct bench_work subject_works[] = {
#ifdef SUBJECT_ALLOC
	{ "pair", NULL, run_pair, NULL },
	{ "batch32", NULL, run_batch32, NULL },
	{ "batch1024", NULL, run_batch1024, NULL },
	{ "crossthread", set_crossthread, run_crossthread, unset_ring },
	{ "batch", NULL, run_batch, NULL },
	{ "cross", set_cross, run_cross, unset_ring },
#endif
#ifdef SUBJECT_READY
	{ "ready", NULL, run_ready, NULL },
#endif
#ifdef SUBJECT_KEY
	{ "key", set_key, run_key, unset_key },
#endif
#ifdef SUBJECT_WORKS
	SUBJECT_WORKS,
#endif
	{ 0 },
};

static const char *subject_version(void)
{
#ifdef SUBJECT_VERSION
	return SUBJECT_VERSION;
#else
	return "";
#endif
}

int main(void)
{
	static const struct bench_subject subject = {
		.name = SUBJECT_NAME,
		.open = subject_open,
		.version = subject_version,
#ifdef SUBJECT_CASE
		.begin_case = subject_case,
		.end_case = subject_case_end,
#endif
#ifdef SUBJECT_LIVE
		.live = subject_live,
#endif
		.works = subject_works,
	};

	return bench_main(&subject);
}

#endif
