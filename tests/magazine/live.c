/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is live, to the byte: blocks of 64 bytes to some pages, many of which start
 * on a page, after random work of several threads, as the pool counts them and as
 * a list that is kept outside of it does; and in a child that got a copy of them.
 */
#include "support.h"

#include "base/size_class.h"

enum { THREADS = 4, SLOTS = 1500 };

struct block {
	unsigned char *addr;
	size_t size;
	size_t usable; /* what the class of its size has */
	uint64_t id;
};

struct worker {
	pthread_t thread;
	struct t_rng rng;
	struct block block[SLOTS];
};

static rdm_pool *pool;
static struct worker workers[THREADS];
static unsigned steps;

/* Sizes that start on a page, now and then, at each of its classes. */
static size_t random_size(struct t_rng *rng)
{
	switch (t_below(rng, 4)) {
	case 0:
		return 1 + t_below(rng, 512);
	case 1:
		return 64 * (1 + t_below(rng, 80));
	case 2:
		return 1 + t_below(rng, 6000);
	default:
		return t_log_uniform(rng, 1, 40000);
	}
}

static void expect_pattern(const struct block *block)
{
	T_CHECKF(t_pattern_check(block->addr, block->size, block->id) == block->size,
		 "%p, of %zu bytes, was changed", (void *)block->addr, block->size);
}

static void drop(struct block *block)
{
	if (!block->addr)
		return;
	expect_pattern(block);
	rdm_free(block->addr);
	block->addr = NULL;
}

static void step(struct worker *worker)
{
	struct block *block = &worker->block[t_below(&worker->rng, SLOTS)];
	size_t size = random_size(&worker->rng), padded = size;

	if (block->addr && !t_below(&worker->rng, 4)) {
		expect_pattern(block);
		block->addr = rdm_realloc(NULL, block->addr, size);
	} else {
		drop(block);
		if (t_below(&worker->rng, 3) == 0)
			return;
		if (!t_below(&worker->rng, 8))
			padded = (size + t_page() - 1) & ~(t_page() - 1);
		block->addr = padded == size ? rdm_malloc(pool, size) :
					       rdm_aligned_alloc(pool, t_page(), size);
	}
	T_CHECKF(block->addr, "no block of %zu", size);
	block->size = size;
	block->usable = rdm_class_size(rdm_class_of(padded));
	block->id = t_rand(&worker->rng);
	t_pattern_fill(block->addr, size, block->id);
}

static void *work(void *arg)
{
	for (unsigned n = 0; n < steps; n++)
		step(arg);
	return NULL;
}

/* Small blocks that start on a page are what this test is for. */
static void compare(void)
{
	struct rdm_stats stats = t_stats(pool);
	size_t blocks = 0, bytes = 0, on_a_page = 0;

	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < SLOTS; i++) {
			const struct block *block = &workers[t].block[i];

			if (!block->addr)
				continue;
			T_CHECKF(rdm_usable_size(block->addr) == block->usable,
				 "%p, of %zu bytes, has %zu, not %zu", (void *)block->addr,
				 block->size, rdm_usable_size(block->addr), block->usable);
			blocks++;
			bytes += block->usable;
			on_a_page += block->size < t_page() && !((uintptr_t)block->addr % t_page());
		}
	T_CHECKF(stats.live_blocks == blocks && stats.live_bytes == bytes,
		 "%zu blocks of %zu bytes are counted as live, %zu of %zu are", stats.live_blocks,
		 stats.live_bytes, blocks, bytes);
	T_CHECKF(!blocks || on_a_page > blocks / 100, "of %zu blocks %zu start on a page", blocks,
		 on_a_page);
}

static int compare_in_child(void *arg)
{
	(void)arg;
	compare();
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < SLOTS; i++)
			if (workers[t].block[i].addr && i % 2)
				drop(&workers[t].block[i]);
	compare();
	return T_PASS;
}

int main(void)
{
	unsigned rounds = t_quick() || T_SANITIZED ? 10 : 100;
	uint64_t seed = t_seed();

	pool = t_pool("live", 0, RDM_FORK_COPY, T_SLAB, 0);
	for (unsigned t = 0; t < THREADS; t++)
		workers[t].rng.state = seed + 1000 * t;
	for (unsigned round = 0; round < rounds; round++) {
		steps = 200 + 400 * (round % 10);
		for (unsigned t = 0; t < THREADS; t++)
			T_CHECK(!pthread_create(&workers[t].thread, NULL, work, &workers[t]));
		for (unsigned t = 0; t < THREADS; t++)
			T_CHECK(!pthread_join(workers[t].thread, NULL));
		/* By this thread, which keeps magazines from round to round. */
		work(&workers[0]);
		compare();
		if (round % 4 == 0)
			t_fork_passes(compare_in_child, NULL);
		if (round % 3 == 0)
			T_CHECK(!rdm_pool_trim(pool, 0));
		compare();
	}
	for (unsigned t = 0; t < THREADS; t++)
		for (unsigned i = 0; i < SLOTS; i++)
			drop(&workers[t].block[i]);
	compare();
	T_CHECK(!rdm_pool_trim(pool, 0) && !t_stats(pool).slab_bytes);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}
