/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

/*
 * The memory of a server, played from a seed: what it allocates and frees does
 * not depend on the allocator, nor on how fast it is played. Time goes on in
 * ticks. Within a tick each thread does its operations in their order; a block
 * that one thread allocates is freed by another in a later tick only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_TICK_MS 5
#define TRACE_TICKS (1000 / TRACE_TICK_MS) /* a second */
#define TRACE_THREADS 32
#define TRACE_BLOCKS ((uint32_t)1 << 19) /* live at a time, at most */

struct trace_op {
	uint32_t block; /* its number; free again once it is freed */
	uint32_t size;  /* bytes to allocate; 0: free it */
};

/* What happens in one tick; tick by tick, from the same seed always the same. */
struct trace_plan {
	uint64_t live_bytes; /* as requested, at the end of the tick */
	uint64_t live_blocks;
	uint64_t allocations; /* since the beginning */
	uint64_t remote;      /* frees by a thread other than the block's */
	uint64_t started;     /* threads */
	bool alive[TRACE_THREADS];
	uint32_t generation[TRACE_THREADS]; /* goes up when a thread is replaced */
	struct trace_op *ops[TRACE_THREADS];
	uint32_t count[TRACE_THREADS];
};

struct trace_plan *trace_plan_open(uint64_t seed, unsigned seconds);
void trace_plan_tick(struct trace_plan *plan, uint32_t tick);

/* What is measured. */
struct trace_sample {
	uint64_t resident; /* bytes; what each subject calls so is said below */
	uint64_t carved;   /* rdmalloc: taken from slabs; jemalloc: stats.active */
	uint64_t
		live; /* rdmalloc: live blocks, rounded to their class; jemalloc: stats.allocated */
	uint64_t magazine, depot, growths; /* rdmalloc only */
};

struct trace_subject {
	const char *name;
	const char *(*open)(void); /* NULL, or why it is absent */
	void *(*alloc)(size_t size);
	void (*free)(void *ptr);
	void (*sample)(struct trace_sample *sample);
	void (*trim)(void); /* NULL: it has none */
};

extern const struct trace_subject trace_rdmalloc, trace_malloc;

/* The threads that do what the plan says. */
void trace_crew_open(const struct trace_subject *subject);
void trace_crew_tick(const struct trace_plan *plan);
/* All end. */
void trace_crew_close(void);

/* Memory of the player's own, not by malloc, present. */
void *trace_pages(size_t bytes);

#endif
