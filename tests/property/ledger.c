/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Millions of random operations from four threads on three pools, forks in
 * between, agree with a model that is kept outside the pools.
 */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, SLOTS = 24576, SAMPLE = 96 };

struct ledger_pool ledger_pools[LEDGER_POOLS] = {
	{ .name = "hole", .backing = RDM_BACKING_ANON, .fork = RDM_FORK_HOLE, .rails = 1 },
	{ .name = "zero", .backing = RDM_BACKING_SHARED, .fork = RDM_FORK_ZERO, .rails = 2 },
	{ .name = "copy", .backing = RDM_BACKING_ANON, .fork = RDM_FORK_COPY, .rails = 1 },
};

static struct ledger_block slots[SLOTS];
static uint64_t operations, fork_every, seed;
static _Atomic(uint64_t) done, allocations, next_id;
static _Atomic(size_t) live_bytes;
static const size_t live_most = 240 * T_MIB;

/* Taken blocks belong to one thread until it puts them back. */
static struct ledger_block *take(struct t_rng *rng)
{
	for (;;) {
		struct ledger_block *block = &slots[t_below(rng, SLOTS)];
		int state = block->state;

		if (state != LEDGER_TAKEN &&
		    atomic_compare_exchange_strong(&block->state, &state, LEDGER_TAKEN)) {
			block->was = state;
			return block;
		}
	}
}

static size_t random_size(struct t_rng *rng)
{
	if (live_bytes > live_most || t_below(rng, 100) < 85)
		return t_log_uniform(rng, 1, 4096);
	return t_log_uniform(rng, 1, T_MIB);
}

static int allocate(struct t_rng *rng, struct ledger_block *block)
{
	unsigned pool = (unsigned)t_below(rng, LEDGER_POOLS);
	rdm_pool *from = ledger_pools[pool].pool;
	size_t size = random_size(rng), alignment = 0;
	unsigned how = (unsigned)t_below(rng, 10);
	void *p;

	if (how == 0) {
		p = rdm_calloc(from, 1, size);
		T_CHECKF(!p || t_is_byte(p, size, 0), "calloc of %zu is not zero", size);
	} else if (how == 1) {
		/* Once in a while beyond the granule. */
		alignment = (size_t)1 << t_below(rng, t_below(rng, 500) ? 17 : 23);
		p = rdm_aligned_alloc(from, alignment, size);
	} else {
		p = how == 2 ? rdm_realloc(from, NULL, size) : rdm_malloc(from, size);
	}
	T_CHECKF(p, "no block of %zu, alignment %zu: %s", size, alignment, strerror(errno));
	block->id = next_id++;
	block->pool = pool;
	block->aligned = alignment;
	ledger_adopt(block, p, size, alignment);
	live_bytes += block->usable;
	allocations++;
	return LEDGER_LIVE;
}

static int release(struct t_rng *rng, struct ledger_block *block)
{
	void *p = block->addr;

	ledger_verify(block, block->size);
	ledger_disown(block);
	live_bytes -= block->usable;
	/* What was asked for does not tell the size class of an aligned block. */
	if (block->aligned || t_below(rng, 4))
		rdm_free(p);
	else
		rdm_free_sized(p, block->size);
	return LEDGER_FREE;
}

static int resize(struct t_rng *rng, struct ledger_block *block)
{
	size_t size = random_size(rng), kept = size < block->size ? size : block->size;
	void *p;

	ledger_verify(block, block->size);
	ledger_disown(block);
	live_bytes -= block->usable;
	p = rdm_realloc(t_below(rng, 2) ? NULL : ledger_pools[block->pool].pool, block->addr, size);
	T_CHECKF(p, "no realloc to %zu: %s", size, strerror(errno));
	block->addr = p;
	ledger_verify(block, kept);
	block->id = next_id++;
	block->aligned = false;
	ledger_adopt(block, p, size, 0);
	live_bytes += block->usable;
	allocations++;
	return LEDGER_LIVE;
}

/* In the child: what the policy says of the sample, then everything is freed. */
static int child(struct ledger_block *const sample[], unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ledger_verify_inherited(sample[i]);
	for (unsigned i = 0; i < count; i++)
		rdm_free(sample[i]->addr);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].state == LEDGER_LIVE)
			rdm_free(slots[i].addr);
	T_CHECK(!rdm_malloc(ledger_pools[0].pool, 1) && errno == ECHILD);
	return T_PASS;
}

static void fork_once(struct t_rng *rng)
{
	struct ledger_block *sample[SAMPLE];
	struct t_event audited;
	unsigned count = 0;
	int status;
	pid_t pid;

	while (count < SAMPLE) {
		struct ledger_block *block = take(rng);

		if (block->was == LEDGER_LIVE)
			sample[count++] = block;
		else
			block->state = LEDGER_FREE;
	}
	t_event_init(&audited);
	pid = fork();
	T_CHECKF(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		t_event_wait(&audited);
		_exit(child(sample, count));
	}
	for (unsigned i = 0; i < LEDGER_POOLS; i++)
		T_CHECKF(!t_audit(ledger_pools[i].pool), "the audit of %s after a fork",
			 ledger_pools[i].name);
	t_event_set(&audited);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the child ended with status %#x", status);
	t_event_destroy(&audited);
	for (unsigned i = 0; i < count; i++) {
		ledger_verify(sample[i], sample[i]->size);
		sample[i]->state = LEDGER_LIVE;
	}
}

static void upkeep(struct t_rng *rng)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	rdm_pool *pool = ledger_pools[t_below(rng, LEDGER_POOLS)].pool;

	T_CHECK(!rdm_pool_stats(pool, &stats));
	if (t_below(rng, 2))
		T_CHECK(!rdm_pool_trim(pool, t_below(rng, stats.slab_bytes + 1)));
	else
		T_CHECK(!rdm_pool_reserve(pool, stats.slab_bytes + 1));
}

static void *worker(void *arg)
{
	struct t_rng rng = { .state = seed + 1000 * (uintptr_t)arg };
	uint64_t n;

	while ((n = done++) < operations) {
		struct ledger_block *block = take(&rng);
		unsigned what = (unsigned)t_below(&rng, 100);

		if (block->was == LEDGER_FREE) {
			block->state = allocate(&rng, block);
		} else if (what < 60) {
			block->state = release(&rng, block);
		} else if (what < 90) {
			block->state = resize(&rng, block);
		} else {
			ledger_verify(block, block->size);
			block->state = LEDGER_LIVE;
		}
		if (n % 10000 == 5000)
			upkeep(&rng);
		if (n % fork_every == fork_every - 1)
			fork_once(&rng);
	}
	return NULL;
}

static void start_pools(void)
{
	for (unsigned i = 0; i < LEDGER_POOLS; i++) {
		struct ledger_pool *pool = &ledger_pools[i];

		pool->pool = t_pool(pool->name, pool->backing, pool->fork, 0, 0);
		for (int rail = 0; rail < pool->rails; rail++) {
			pool->recorder[rail] = t_recorder_new(pool->name);
			T_CHECK(t_recorder_add(pool->recorder[rail], pool->pool) == rail);
		}
	}
	ledger_start();
}

static void finish_pools(void)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	struct t_rng rng = { .state = seed };

	for (unsigned i = 0; i < SLOTS; i++)
		if (slots[i].state == LEDGER_LIVE)
			release(&rng, &slots[i]);
	for (unsigned i = 0; i < LEDGER_POOLS; i++) {
		struct ledger_pool *pool = &ledger_pools[i];

		T_CHECK(!rdm_pool_stats(pool->pool, &stats));
		T_CHECKF(!stats.live_blocks && !stats.live_bytes, "%s: %zu blocks are left",
			 pool->name, stats.live_blocks);
		T_CHECK(!rdm_pool_destroy(pool->pool));
		for (int rail = 0; rail < pool->rails; rail++) {
			T_CHECK(!pool->recorder[rail]->live);
			t_recorder_free(pool->recorder[rail]);
		}
	}
}

int main(void)
{
	pthread_t thread[THREADS];

	operations = T_TSAN ? 10000 : t_quick() || T_SANITIZED ? 300000 : 10000000;
	if (T_SANITIZED)
		t_say("built with a sanitizer: a short run");
	fork_every = operations / (t_quick() || T_SANITIZED ? 20 : 200);
	seed = t_seed();
	start_pools();
	for (uintptr_t i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, worker, (void *)i));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	finish_pools();
	t_say("%llu operations, %llu blocks, %llu forks", (unsigned long long)operations,
	      (unsigned long long)allocations, (unsigned long long)(operations / fork_every));
	return T_PASS;
}
