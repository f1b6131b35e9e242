/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "trace.h"
#include "worker.h"

#include <math.h>

#define OPS_MAX 16384   /* of a thread in a tick */
#define SHARE_LOCAL 0.6 /* of the blocks are freed where they were allocated */

struct block {
	uint32_t size;
	uint32_t next;   /* that ends in the same tick, or in the list of free numbers; 0: none */
	uint32_t home;   /* thread that has it */
	uint32_t serial; /* generation of that thread */
};

struct state {
	struct trace_plan plan;
	uint64_t random;
	uint32_t ticks;
	uint32_t *ending; /* by tick: the first block that ends then; 0: none */
	struct block *block;
	uint32_t free_block;
	uint32_t dropped, dropped_last;   /* in this tick: another thread may not have them yet */
	double thread_end[TRACE_THREADS]; /* seconds */
	unsigned running[TRACE_THREADS];  /* the first `threads` are numbers of live threads */
	unsigned threads;
	double burst_end, burst_next;
};

static double uniform(struct state *s)
{
	uint64_t x = s->random += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (double)((x ^ x >> 31) >> 11) / (double)((uint64_t)1 << 53);
}

static bool chance(struct state *s, double share)
{
	return uniform(s) < share;
}

/* As many small ones as large ones, in the sense of each doubling. */
static double log_uniform(struct state *s, double low, double high)
{
	return low * exp2(uniform(s) * log2(high / low));
}

/* How many there are in a tick of what comes so often a second. */
static unsigned arrivals(struct state *s, double rate)
{
	double left = exp(-rate * TRACE_TICK_MS / 1000);
	double product = uniform(s);
	unsigned n = 0;

	for (; product > left; n++)
		product *= uniform(s);
	return n;
}

/* Rises and falls within minutes, with bursts; the last tenth is quiet. */
static double load_at(struct state *s, double now, double end)
{
	double load = 0.55 + 0.35 * sin(now * 2 * M_PI / 150);

	if (now >= s->burst_next) {
		s->burst_end = now + log_uniform(s, 3, 20);
		s->burst_next = s->burst_end + log_uniform(s, 10, 60);
	}
	if (now < s->burst_end)
		load += 0.4;
	return now > end * 0.9 ? 0.15 : load;
}

static uint32_t request_size(struct state *s)
{
	static const uint32_t usual[] = { 128,   256,   1024 + 64, 4096,   4096 + 64, 8192,
					  16384, 65536, 65600,     131072, 262144,    1 << 20 };

	if (chance(s, 0.25))
		return usual[(size_t)(uniform(s) * (sizeof(usual) / sizeof(usual[0])))];
	return (uint32_t)log_uniform(s, 64, chance(s, 0.6) ? 16384 : 1 << 20);
}

static unsigned some_thread(struct state *s)
{
	return s->running[(unsigned)(uniform(s) * s->threads)];
}

static void add_op(struct state *s, unsigned thread, uint32_t block, uint32_t size)
{
	struct trace_plan *plan = &s->plan;

	if (plan->count[thread] == OPS_MAX)
		bench_die("more than %u operations of a thread in a tick", OPS_MAX);
	plan->ops[thread][plan->count[thread]++] = (struct trace_op){ block, size };
}

static void end_block(struct state *s, uint32_t number, bool anywhere)
{
	struct block *block = &s->block[number];
	bool at_home = s->plan.alive[block->home] &&
		       s->plan.generation[block->home] == block->serial &&
		       (!anywhere || chance(s, SHARE_LOCAL));
	unsigned thread = at_home ? block->home : some_thread(s);

	s->plan.remote += thread != block->home;
	s->plan.live_bytes -= block->size;
	s->plan.live_blocks--;
	add_op(s, thread, number, 0);
	block->next = s->dropped;
	s->dropped = number;
	if (!block->next)
		s->dropped_last = number;
}

/* seconds: how long it lives; less than a tick: it is freed at once. */
static void begin_block(struct state *s, uint32_t tick, unsigned thread, uint32_t size,
			double seconds)
{
	uint32_t ticks = (uint32_t)(seconds * TRACE_TICKS);
	uint32_t number = s->free_block;
	struct block *block = &s->block[number];

	if (!number)
		bench_die("more than %u live blocks", TRACE_BLOCKS);
	s->free_block = block->next;
	*block = (struct block){ size, 0, thread, s->plan.generation[thread] };
	s->plan.live_bytes += size;
	s->plan.live_blocks++;
	s->plan.allocations++;
	add_op(s, thread, number, size);
	if (!ticks) {
		end_block(s, number, false);
	} else if (ticks < s->ticks - tick) {
		block->next = s->ending[tick + ticks];
		s->ending[tick + ticks] = number;
	}
}

/* A few blocks that end together, in milliseconds to half a second. */
static void request(struct state *s, uint32_t tick)
{
	unsigned thread = some_thread(s);
	double seconds = chance(s, 0.4) ? 0 : log_uniform(s, 0.005, 0.5);

	do
		begin_block(s, tick, thread, request_size(s), seconds);
	while (chance(s, 0.67));
}

/* State, buffers, and what comes by the way; from a moment to minutes. */
static void connection(struct state *s, uint32_t tick)
{
	static const uint32_t buffer[] = { 4096, 16384, 32768, 65536, 65536, 131072 };
	double seconds = log_uniform(s, 0.1, 180);
	unsigned thread = some_thread(s);

	begin_block(s, tick, thread, (uint32_t)log_uniform(s, 128, 2048), seconds);
	for (int i = 0; i < 2; i++)
		begin_block(s, tick, thread,
			    buffer[(size_t)(uniform(s) * (sizeof(buffer) / sizeof(buffer[0])))],
			    seconds);
	while (chance(s, 0.6))
		begin_block(s, tick, thread, (uint32_t)log_uniform(s, 64, 65536),
			    seconds * uniform(s));
}

static void happen(struct state *s, uint32_t tick, double load)
{
	for (unsigned n = arrivals(s, 6000 * load); n; n--)
		request(s, tick);
	for (unsigned n = arrivals(s, 60 * load); n; n--)
		connection(s, tick);
	/* What a server keeps in case it is asked again. */
	for (unsigned n = arrivals(s, 40 * load); n; n--)
		begin_block(s, tick, some_thread(s), (uint32_t)log_uniform(s, 64, 1 << 20),
			    log_uniform(s, 1, 300));
	for (unsigned n = arrivals(s, load); n; n--)
		begin_block(s, tick, some_thread(s), (uint32_t)log_uniform(s, 1 << 20, 16 << 20),
			    log_uniform(s, 0.05, 20));
}

static void reuse_dropped(struct state *s)
{
	if (!s->dropped)
		return;
	s->block[s->dropped_last].next = s->free_block;
	s->free_block = s->dropped;
	s->dropped = 0;
}

static void list_threads(struct state *s)
{
	s->threads = 0;
	for (unsigned i = 0; i < TRACE_THREADS; i++)
		if (s->plan.alive[i])
			s->running[s->threads++] = i;
}

static void start_thread(struct state *s, unsigned number, double now)
{
	s->plan.alive[number] = true;
	s->plan.generation[number]++;
	s->plan.started++;
	s->thread_end[number] = now + log_uniform(s, 2, 200);
}

/* More of them when there is more to do, and none stays for ever. */
static void hire_and_fire(struct state *s, double now, double load)
{
	unsigned wanted = 3 + (unsigned)(load * 20);

	for (unsigned i = 0; i < TRACE_THREADS; i++)
		if (s->plan.alive[i] && now >= s->thread_end[i])
			s->plan.alive[i] = false;
	list_threads(s);
	for (unsigned i = 0; i < TRACE_THREADS && s->threads < wanted; i++) {
		if (s->plan.alive[i])
			continue;
		start_thread(s, i, now);
		list_threads(s);
	}
}

struct trace_plan *trace_plan_open(uint64_t seed, unsigned seconds)
{
	struct state *s = trace_pages(sizeof(*s));

	s->random = seed;
	s->ticks = seconds * TRACE_TICKS;
	s->ending = trace_pages(s->ticks * sizeof(s->ending[0]));
	s->block = trace_pages(TRACE_BLOCKS * sizeof(s->block[0]));
	for (uint32_t i = TRACE_BLOCKS - 1; i; i--) {
		s->block[i].next = s->free_block;
		s->free_block = i;
	}
	for (unsigned i = 0; i < TRACE_THREADS; i++)
		s->plan.ops[i] = trace_pages(OPS_MAX * sizeof(struct trace_op));
	s->burst_next = 20;
	return &s->plan;
}

void trace_plan_tick(struct trace_plan *plan, uint32_t tick)
{
	struct state *s = (struct state *)(void *)plan;
	double now = (double)tick / TRACE_TICKS;
	double load = load_at(s, now, (double)s->ticks / TRACE_TICKS);

	for (unsigned i = 0; i < TRACE_THREADS; i++)
		plan->count[i] = 0;
	reuse_dropped(s);
	if (tick % (TRACE_TICKS / 4) == 0)
		hire_and_fire(s, now, load);
	for (uint32_t number = s->ending[tick], next; number; number = next) {
		next = s->block[number].next;
		end_block(s, number, true);
	}
	happen(s, tick, load);
}
