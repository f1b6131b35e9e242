/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "rdmalloc.h"
#include "worker.h"

#ifdef SIZED
#define SUBJECT_NAME "rdmalloc-sized"
#else
#define SUBJECT_NAME "rdmalloc"
#endif
#define SUBJECT_VERSION version()
#define SUBJECT_ALLOC 1
#define SUBJECT_READY 1
#define SUBJECT_CASE 1

/* As many slabs as io_uring has room for. */
#define SLOTS 16384

static rdm_pool *pool;
static int rail;
static const char *no_pins; /* why, or NULL */
static size_t vmas_before;

static int reg_nothing(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)context;
	(void)length;
	mr->lkey = (uint32_t)((uintptr_t)addr >> 21);
	return 0;
}

static int dereg_nothing(void *context, const struct rdm_mr *mr)
{
	(void)context;
	(void)mr;
	return 0;
}

/* Without io_uring memory is not pinned, and blocks and keys cost the same. */
static int add_rail(void)
{
	static const struct rdm_registrar nothing = { sizeof(nothing), "nothing", 0, reg_nothing,
						      dereg_nothing };
	static char why[200];

	no_pins = bench_device_open();
	if (!no_pins)
		return rdm_pool_add_uring(pool, bench_device_ring(), SLOTS);
	strncpy(why, no_pins, sizeof(why) - 1);
	no_pins = why;
	return rdm_pool_add_rail(pool, &nothing, NULL);
}

static const char *open_pool(unsigned policy)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;

	config.fork = policy;
	pool = rdm_pool_create(&config);
	rail = pool ? add_rail() : -1;
	return rail < 0 ? bench_why("no pool with a rail: %s", strerror(errno)) : NULL;
}

static const char *version(void)
{
	return no_pins ? bench_why("%s, pins nothing: %s", rdm_version(), no_pins) : rdm_version();
}

static const char *subject_open(void)
{
	vmas_before = bench_vmas();
	return open_pool(RDM_FORK_DEFAULT);
}

static const char *subject_case(const struct bench_case *c)
{
	(void)c;
	return NULL;
}

/* What one case has pinned is not the next one's. */
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
#ifdef SIZED
	rdm_free_sized(ptr, size);
#else
	(void)size;
	rdm_free(ptr);
#endif
}

static inline void *subject_ready(size_t size, uint64_t *key)
{
	void *block = rdm_malloc(pool, size);
	struct rdm_key found;

	if (!block || rdm_key(block, rail, &found))
		return NULL;
	*key = found.lkey;
	return block;
}

static inline void subject_ready_free(void *ptr, size_t size, uint64_t key)
{
	(void)key;
	subject_free(ptr, size);
}

#ifndef SIZED

#define SUBJECT_KEY 1
#define SUBJECT_LIVE 1

/* The smallest slab. */
#define KEY_SLAB ((size_t)2 << 20)

static rdm_pool *key_pool;
static int key_rail;

/*
 * The memory goes back at once: 10,000 slabs fit into any machine, and a key is
 * found without a look at the memory.
 */
static int reg_and_drop(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	reg_nothing(context, addr, length, mr);
	return madvise(addr, length, MADV_DONTNEED) ? errno : 0;
}

static void subject_key_unset(struct bench_range *range, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		rdm_free(range[i].base);
	if (rdm_pool_destroy(key_pool))
		bench_die("rdm_pool_destroy: %s", strerror(errno));
}

static const char *subject_key_set(struct bench_range *range, unsigned n)
{
	static const struct rdm_registrar drop = { sizeof(drop), "drop", 0, reg_and_drop,
						   dereg_nothing };
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	struct rdm_stats stats = { .size = sizeof(stats) };

	config.slab_size = KEY_SLAB;
	key_pool = rdm_pool_create(&config);
	key_rail = key_pool ? rdm_pool_add_rail(key_pool, &drop, NULL) : -1;
	if (key_rail < 0)
		return bench_why("no pool with a rail: %s", strerror(errno));
	for (unsigned i = 0; i < n; i++) {
		range[i] = (struct bench_range){ rdm_malloc(key_pool, KEY_SLAB), KEY_SLAB, NULL };
		if (!range[i].base) {
			const char *why = bench_why("slab %u: %s", i, strerror(errno));

			subject_key_unset(range, i);
			return why;
		}
	}
	if (rdm_pool_stats(key_pool, &stats) || stats.slabs != n)
		bench_die("%zu slabs, not %u", stats.slabs, n);
	return NULL;
}

static inline uint64_t subject_key(const void *ptr)
{
	struct rdm_key key;

	return rdm_key(ptr, key_rail, &key) ? 0 : key.lkey;
}

static const char *subject_live(size_t size, size_t n, struct bench_live *live)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	void **block = bench_pages(n * sizeof(*block));

	while (live->made < n && (block[live->made] = rdm_malloc(pool, size)))
		live->made++;
	if (live->made < n)
		strncpy(live->why, strerror(errno), sizeof(live->why) - 1);
	/* Less one: the list of blocks is the bench's own. */
	live->vmas = bench_vmas() - vmas_before - 1;
	rdm_pool_stats(pool, &stats);
	live->regions = stats.slabs * stats.rails;
	live->slabs = stats.slabs;
	for (size_t i = 0; i < live->made; i++)
		rdm_free(block[i]);
	bench_pages_free(block, n * sizeof(*block));
	return NULL;
}

static void close_pool(void)
{
	if (rdm_pool_destroy(pool))
		bench_die("rdm_pool_destroy: %s", strerror(errno));
	bench_device_close();
}

static const char *set_fork(const struct bench_case *c, unsigned policy, size_t bytes)
{
	const char *why;

	(void)c;
	if (no_pins)
		return no_pins;
	close_pool();
	why = open_pool(policy);
	if (why)
		return why;
	return rdm_pool_reserve(pool, bytes) ? bench_why("rdm_pool_reserve: %s", strerror(errno)) :
					       NULL;
}

static const char *set_hole(const struct bench_case *c)
{
	return set_fork(c, RDM_FORK_HOLE, c->size);
}

#define LIVE_BLOCK ((size_t)1 << 20)
static void **live_block;

/* One half of the pool is live, in blocks of 1 MiB, the other is free. */
static const char *set_copy(const struct bench_case *c)
{
	const char *why = set_fork(c, RDM_FORK_COPY, 2 * c->size);
	size_t n = c->size / LIVE_BLOCK;

	if (why)
		return why;
	live_block = bench_pages(n * sizeof(*live_block));
	for (size_t i = 0; i < n; i++) {
		live_block[i] = rdm_malloc(pool, LIVE_BLOCK);
		if (!live_block[i])
			bench_die("block %zu of %zu: %s", i, n, strerror(errno));
		memset(live_block[i], 1, LIVE_BLOCK);
	}
	return NULL;
}

static void unset_copy(const struct bench_case *c)
{
	size_t n = c->size / LIVE_BLOCK;

	for (size_t i = 0; i < n; i++)
		rdm_free(live_block[i]);
	bench_pages_free(live_block, n * sizeof(*live_block));
}

static const char *set_reserve(const struct bench_case *c)
{
	(void)c;
	return no_pins;
}

static const char *run_reserve(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			       uint64_t *done)
{
	for (; *done < operations; ++*done) {
		uint64_t begin = bench_now();

		if (rdm_pool_reserve(pool, c->size))
			return bench_why("rdm_pool_reserve: %s", strerror(errno));
		*ns += bench_now() - begin;
		subject_case_end(c);
	}
	return NULL;
}

#define SUBJECT_WORKS                                               \
	{ "fork-hole", set_hole, bench_forks, NULL },               \
		{ "fork-copy", set_copy, bench_forks, unset_copy }, \
	{                                                           \
		"reserve", set_reserve, run_reserve, NULL           \
	}

#endif

#include "loops.h"
