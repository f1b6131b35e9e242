/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A design, not a library: one arena that is made DONTFORK and registered once, as
 * transfer engines do; blocks from a bump pointer and free lists under a spinlock,
 * sizes rounded up to powers of two, freed by size; the key from a sorted map of
 * regions under a spinlock.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "device.h"
#include "worker.h"

#define SUBJECT_NAME "arena-map"
#define SUBJECT_VERSION "io_uring"
#define SUBJECT_ALLOC 1
#define SUBJECT_READY 1
#define SUBJECT_KEY 1
#define SUBJECT_LIVE 1
#define SUBJECT_CASE 1

#define PIECE ((size_t)2 << 20)
#define SMALLEST 64
/* A ring of blocks between two threads, and a few on their way. */
#define IN_FLIGHT 272
/* GiB that an arena can have. */
#define SLOTS 16

struct region {
	const char *base;
	size_t length;
	uint64_t key;
};

static struct {
	pthread_spinlock_t lock;
	void *tree;
	struct region *region;
	unsigned regions;
} map;

static struct {
	pthread_spinlock_t lock;
	char *base;
	size_t length, used;
	void *free[64];
} arena;

/* A pointer is equal to the region that it is in. */
static int compare(const void *left, const void *right)
{
	const struct region *a = left, *b = right;

	return a->base >= b->base + b->length ? 1 : a->base + a->length <= b->base ? -1 : 0;
}

static void map_add(const char *base, size_t length, uint64_t key)
{
	struct region *region = &map.region[map.regions++];

	*region = (struct region){ base, length, key };
	if (!tsearch(region, &map.tree, compare))
		bench_die("no memory for the map of regions");
}

static void map_clear(void)
{
	while (map.regions)
		tdelete(&map.region[--map.regions], &map.tree, compare);
	free(map.region);
}

static void map_open(unsigned regions)
{
	map.region = calloc(regions, sizeof(*map.region));
	if (!map.region)
		bench_die("no memory for the map of regions");
}

static inline uint64_t map_key(const void *ptr)
{
	struct region wanted = { .base = ptr, .length = 1 };
	struct region *const *found;
	uint64_t key;

	pthread_spin_lock(&map.lock);
	found = tfind(&wanted, &map.tree, compare);
	key = found ? (*found)->key : UINT64_MAX;
	pthread_spin_unlock(&map.lock);
	return key;
}

static const char *subject_open(void)
{
	const char *why = bench_device_open();

	pthread_spin_init(&map.lock, PTHREAD_PROCESS_PRIVATE);
	pthread_spin_init(&arena.lock, PTHREAD_PROCESS_PRIVATE);
	return why ? why : bench_device_table(SLOTS);
}

static inline unsigned class_of(size_t size)
{
	return size <= SMALLEST ? 6 : 64 - (unsigned)__builtin_clzl(size - 1);
}

static inline void *subject_alloc(size_t size)
{
	unsigned class = class_of(size);
	void *block;

	pthread_spin_lock(&arena.lock);
	block = arena.free[class];
	if (block) {
		arena.free[class] = *(void **)block;
	} else if (arena.length - arena.used >= (size_t)1 << class) {
		block = arena.base + arena.used;
		arena.used += (size_t)1 << class;
	}
	pthread_spin_unlock(&arena.lock);
	return block;
}

static inline void subject_free(void *ptr, size_t size)
{
	unsigned class = class_of(size);

	pthread_spin_lock(&arena.lock);
	*(void **)ptr = arena.free[class];
	arena.free[class] = ptr;
	pthread_spin_unlock(&arena.lock);
}

static void arena_close(void)
{
	for (unsigned i = 0; i < map.regions; i++)
		if (bench_pin((unsigned)map.region[i].key, NULL, 0))
			bench_die("the arena stays pinned");
	map_clear();
	munmap(arena.base, arena.length);
	memset(arena.free, 0, sizeof(arena.free));
	arena.used = 0;
}

static const char *arena_open(size_t size, size_t blocks)
{
	size_t length = (((size_t)1 << class_of(size)) * blocks + PIECE - 1) & -PIECE;
	int error = 0;

	arena.base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena.base == MAP_FAILED)
		return bench_why("no arena of %zu bytes: %s", length, strerror(errno));
	arena.length = length;
	madvise(arena.base, length, MADV_HUGEPAGE);
	if (madvise(arena.base, length, MADV_DONTFORK))
		error = errno;
	map_open(SLOTS);
	for (size_t at = 0; at < length && !error; at += BENCH_PIN_MAX) {
		size_t part = length - at < BENCH_PIN_MAX ? length - at : BENCH_PIN_MAX;

		error = map.regions < SLOTS ? bench_pin(map.regions, arena.base + at, part) :
					      ENOSPC;
		if (!error)
			map_add(arena.base + at, part, map.regions);
	}
	if (!error)
		return NULL;
	arena_close();
	return bench_why("an arena of %zu bytes: %s", length, strerror(error));
}

/* All of it is pinned, so it is no larger than it must be. */
static size_t most_blocks(const char *work)
{
	unsigned batch;

	if (sscanf(work, "batch%u", &batch) == 1)
		return batch;
	return strcmp(work, "crossthread") ? 1 : IN_FLIGHT;
}

static const char *subject_case(const struct bench_case *c)
{
	if (!strcmp(c->work, "key"))
		return NULL;
	return arena_open(c->size, c->threads * most_blocks(c->work));
}

static void subject_case_end(const struct bench_case *c)
{
	if (strcmp(c->work, "key"))
		arena_close();
}

static inline void *subject_ready(size_t size, uint64_t *key)
{
	void *block = subject_alloc(size);

	*key = map_key(block);
	return block;
}

static inline void subject_ready_free(void *ptr, size_t size, uint64_t key)
{
	(void)key;
	subject_free(ptr, size);
}

/* Addresses alone: only the map looks at them. */
static const char *subject_key_set(struct bench_range *range, unsigned n)
{
	map_open(n);
	for (unsigned i = 0; i < n; i++) {
		range[i] =
			(struct bench_range){ .base = (char *)((i + 1) * PIECE), .length = PIECE };
		map_add(range[i].base, PIECE, i);
	}
	return NULL;
}

static void subject_key_unset(struct bench_range *range, unsigned n)
{
	(void)range;
	(void)n;
	map_clear();
}

static inline uint64_t subject_key(const void *ptr)
{
	return map_key(ptr);
}

static const char *subject_live(size_t size, size_t n, struct bench_live *live)
{
	size_t vmas = bench_vmas();
	const char *why = arena_open(size, n);
	uint64_t key;

	if (why)
		return why;
	while (live->made < n && subject_ready(size, &key))
		live->made++;
	if (live->made < n)
		snprintf(live->why, sizeof(live->why), "the arena is full");
	live->vmas = bench_vmas() - vmas;
	live->regions = live->slabs = map.regions;
	arena_close();
	return NULL;
}

#include "loops.h"
