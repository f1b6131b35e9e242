/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tables beside the reserve cost: their addresses, and how much of them
 * is in memory once so many slabs are full of blocks of one size. With
 * RDMALLOC_CONF=reserve:1T they are those of a machine with 1 TiB of slabs.
 */
#include "config.h"

#include "memory/slab_map.h"
#include "memory/keys.h"
#include "pool/pool.h"
#include "rdmalloc.h"
#include "memory/state.h"

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STEP ((size_t)64 << 20)

static int pagemap;
static size_t page;

static size_t resident(const volatile void *base, size_t bytes)
{
	uint64_t entry[4096];
	size_t pages = (bytes + page - 1) / page;
	size_t found = 0;

	for (size_t at = 0; at < pages;) {
		size_t count = sizeof(entry) / sizeof(entry[0]);
		off_t offset = (off_t)(((uintptr_t)base / page + at) * sizeof(entry[0]));

		if (count > pages - at)
			count = pages - at;
		if (pread(pagemap, entry, count * sizeof(entry[0]), offset) !=
		    (ssize_t)(count * sizeof(entry[0])))
			err(1, "/proc/self/pagemap");
		for (size_t i = 0; i < count; i++)
			found += entry[i] >> 63;
		at += count;
	}
	return found * page;
}

static size_t rss(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	size_t total, pages;

	if (!file || fscanf(file, "%zu %zu", &total, &pages) != 2)
		err(1, "/proc/self/statm");
	fclose(file);
	return pages * page;
}

static void print_table(const char *name, const volatile void *base, size_t bytes)
{
	printf("  %-12s %10zu KiB of addresses, %8zu KiB in memory\n", name, bytes >> 10,
	       resident(base, bytes) >> 10);
}

static void print_tables(const char *when)
{
	size_t size = rdm_reserve_size();

	printf("%s\n", when);
	print_table("key map", rdm_slab_map, (size >> RDM_GRANULE_SHIFT) * sizeof(rdm_slab_map[0]));
	print_table("keys, rail 0", rdm_keys.rail[0],
		    (size >> RDM_GRANULE_SHIFT) * sizeof(struct rdm_key));
	print_table("states", rdm_state_byte((void *)rdm_reserve.base), size >> RDM_UNIT_SHIFT);
}

static double now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void fill(rdm_pool *pool, size_t slabs, size_t size)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	size_t before = rss(), blocks = 0;
	char when[120];
	double begin;

	do {
		/* Counting live blocks looks at all of them: not too often. */
		for (size_t bytes = 0; bytes < STEP; bytes += size, blocks++)
			if (!rdm_malloc(pool, size))
				err(1, "rdm_malloc");
		if (rdm_pool_stats(pool, &stats))
			err(1, "rdm_pool_stats");
	} while (stats.slabs < slabs);
	snprintf(when, sizeof(when),
		 "%zu slabs, %zu MiB, with %zu blocks of %zu bytes:", stats.slabs,
		 stats.slab_bytes >> 20, blocks, size);
	print_tables(when);
	begin = now();
	if (rdm_pool_stats(pool, &stats))
		err(1, "rdm_pool_stats");
	printf("  rdm_pool_stats() counts them in %.0f us\n", now() - begin);
	printf("  all beside the slabs: %zu KiB, %.3f %% of them\n",
	       (rss() - before - stats.slab_bytes) >> 10,
	       100.0 * (double)(rss() - before - stats.slab_bytes) / (double)stats.slab_bytes);
}

/* The least of some turns: the host's own faults are in the first. */
static void time_slabs(rdm_pool *pool, size_t slabs)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	double made = 1e9, returned = 1e9;

	for (int turn = 0; turn < 5; turn++) {
		double begin = now(), middle, end;

		for (size_t i = 1; i <= slabs; i++)
			if (rdm_pool_reserve(pool, i * ((size_t)4 << 20)))
				err(1, "rdm_pool_reserve");
		middle = now();
		if (rdm_pool_stats(pool, &stats) || stats.slabs != slabs)
			errx(1, "%zu slabs, not %zu", stats.slabs, slabs);
		if (rdm_pool_trim(pool, 0))
			err(1, "rdm_pool_trim");
		end = now();
		made = middle - begin < made ? middle - begin : made;
		returned = end - middle < returned ? end - middle : returned;
	}
	printf("a slab of 4 MiB, not pinned: made in %.0f us, returned in %.0f us\n",
	       made / (double)slabs, returned / (double)slabs);
}

static int reg_nothing(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)context;
	(void)addr;
	(void)length;
	mr->lkey = 1;
	return 0;
}

static int dereg_nothing(void *context, const struct rdm_mr *mr)
{
	(void)context;
	(void)mr;
	return 0;
}

int main(int argc, char **argv)
{
	static const struct rdm_registrar nothing = { sizeof(nothing), "nothing", 0, reg_nothing,
						      dereg_nothing };
	size_t slabs = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 4096;
	rdm_pool *pool;

	page = (size_t)sysconf(_SC_PAGESIZE);
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		err(1, "/proc/self/pagemap");
	if (!slabs || !size)
		errx(2, "usage: tables [SLABS [BYTES OF A BLOCK]]");
	pool = rdm_pool_create(NULL);
	if (!pool || rdm_pool_add_rail(pool, &nothing, NULL))
		return 1;
	printf("a reserve of %zu GiB\n", rdm_reserve_size() >> 30);
	print_tables("no slab:");
	fill(pool, slabs, size);
	if (rdm_pool_reset(pool))
		return 1;
	time_slabs(pool, slabs);
	return rdm_pool_destroy(pool);
}
