/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Freed neighbours in adjacent slabs never become one block: every block lies
 * within one registration.
 */
#include "support.h"

#include <errno.h>

enum { MOST = 1024 };

struct rdm_arena;
void rdm_arena_free(void *block, unsigned state);

/* Freed runs stay with jemalloc (--wrap), or they would not meet there. */
void __wrap_rdm_arena_free_batch(struct rdm_arena *arena, unsigned size_class, void *const *blocks,
				 size_t count);
void __wrap_rdm_arena_free_batch(struct rdm_arena *arena, unsigned size_class, void *const *blocks,
				 size_t count)
{
	(void)arena;
	while (count)
		rdm_arena_free(blocks[--count], size_class);
}

static rdm_pool *pool;
static struct t_recorder *recorder;
static void *block[MOST];

static unsigned fill(size_t size, unsigned most)
{
	struct rdm_key head, tail;
	unsigned n = 0;

	while (n < most && (block[n] = rdm_malloc(pool, size))) {
		T_CHECK(!rdm_key(block[n], 0, &head));
		T_CHECK(!rdm_key((char *)block[n] + size - 1, 0, &tail));
		T_CHECKF(head.lkey == tail.lkey && t_recorder_find(recorder, block[n], size),
			 "%p + %zu crosses from one registration to another", block[n], size);
		n++;
	}
	return n;
}

static void empty(unsigned n, unsigned step)
{
	for (unsigned i = 0; i < n; i += step) {
		rdm_free(block[i]);
		block[i] = NULL;
	}
}

/* Odd ones first, then even ones: each free finds free neighbours. */
static void empty_all(unsigned n)
{
	empty(n, 2);
	for (unsigned i = 1; i < n; i += 2) {
		rdm_free(block[i]);
		block[i] = NULL;
	}
}

static void play(size_t limit)
{
	static const size_t sizes[] = { 65536, 3 * T_MIB, 1280 * 1024, 1536 * 1024,
					T_MIB, 5 * T_MIB, 100000,      2 * T_MIB };
	unsigned most = limit ? MOST : 64;

	recorder = t_recorder_new("recorder");
	pool = t_pool("merge", RDM_BACKING_ANON, 0, T_SLAB, limit);
	t_recorder_add(recorder, pool);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			empty_all(fill(sizes[i], most));
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
}

int main(int argc, char **argv)
{
	(void)argc;
	/* In the depot freed blocks do not meet their neighbours. */
	t_configure(argv, "magazine:0");
	play(0);
	play(32 * T_MIB);
	return T_PASS;
}
