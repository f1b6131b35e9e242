/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hot paths, each in a loop of few and of many rounds, for callgrind:
 * tests/instructions/count counts what happens within counted(). "hot list" says
 * what "hot run" does, in that order: name, margin in per cent, and by how many
 * operations the loops differ. "arena" behind it: the ways of a pool without magazines.
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rdmalloc.h"

#define FEW 64
#define MANY 1088
#define BATCH 32
#define SLABS 500
#define SLAB ((size_t)4 << 20)

static rdm_pool *pool;
static void *slab_block[SLABS]; /* one in each slab */
static size_t slabs;

static void *allocate(size_t size)
{
	void *block = rdm_malloc(pool, size);

	if (!block)
		err(1, "rdm_malloc(%zu)", size);
	return block;
}

static void pair(size_t size, unsigned rounds)
{
	while (rounds--)
		rdm_free(rdm_malloc(pool, size));
}

static void pair_sized(size_t size, unsigned rounds)
{
	while (rounds--)
		rdm_free_sized(rdm_malloc(pool, size), size);
}

static void batch(size_t size, unsigned rounds)
{
	void *block[BATCH];

	while (rounds--) {
		for (unsigned i = 0; i < BATCH; i++)
			block[i] = rdm_malloc(pool, size);
		for (unsigned i = 0; i < BATCH; i++)
			rdm_free(block[i]);
	}
}

/* Of their last bytes: a slab has several entries in the table of keys. */
static void key(size_t wanted, unsigned rounds)
{
	struct rdm_key found;

	for (size_t at = 0; rounds--; at = at + 1 < wanted ? at + 1 : 0)
		if (rdm_key((char *)slab_block[at] + SLAB - 1, 0, &found))
			errx(1, "no key");
}

/* Slabs are not looked into, so their memory may go back: there may be many on any machine. */
static int reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)context;
	*mr = (struct rdm_mr){ .lkey = 1 };
	return slabs && madvise(addr, length, MADV_DONTNEED) ? errno : 0;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	(void)context;
	(void)mr;
	return 0;
}

static void open_pool(size_t number)
{
	static const struct rdm_registrar registrar = { sizeof(registrar), "nothing", 0, reg,
							dereg };
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;

	slabs = number;
	config.slab_size = number ? SLAB : 0;
	pool = rdm_pool_create(&config);
	if (!pool || rdm_pool_add_rail(pool, &registrar, NULL))
		err(1, "no pool with a rail");
	for (size_t i = 0; i < number; i++)
		slab_block[i] = allocate(SLAB);
}

static void close_pool(void)
{
	for (size_t i = 0; i < slabs; i++)
		rdm_free(slab_block[i]);
	if (rdm_pool_destroy(pool))
		err(1, "rdm_pool_destroy");
}

struct path {
	const char *name;
	void (*loop)(size_t argument, unsigned rounds);
	size_t argument; /* bytes; of key: slabs */
	unsigned each;   /* operations in a round */
	unsigned margin; /* per cent */
};

static const struct path paths[] = {
	{ "pair-64", pair, 64, 1, 3 },
	{ "pair-1K", pair, 1 << 10, 1, 3 },
	{ "pair-4K", pair, 4 << 10, 1, 3 },
	{ "pair-64K", pair, 64 << 10, 1, 3 },
	{ "pair-1M", pair, 1 << 20, 1, 3 },
	{ "pair-sized-64", pair_sized, 64, 1, 3 },
	{ "pair-sized-64K", pair_sized, 64 << 10, 1, 3 },
	{ "batch32-64K", batch, 64 << 10, BATCH, 3 },
	{ "key-1", key, 1, 1, 3 },
	{ "key-500", key, SLABS, 1, 3 },
	{ 0 },
};

/* Mostly jemalloc's instructions. */
static const struct path arena_paths[] = {
	{ "arena-64", pair, 64, 1, 15 },
	{ "arena-64K", pair, 64 << 10, 1, 15 },
	{ 0 },
};

/* Not static, so that it keeps its name. */
void counted(const struct path *path, unsigned rounds);
__attribute__((noinline)) void counted(const struct path *path, unsigned rounds)
{
	path->loop(path->argument, rounds);
}

static void run(const struct path *path)
{
	open_pool(path->loop == key ? path->argument : 0);
	/* Whatever is done once. */
	path->loop(path->argument, MANY);
	counted(path, FEW);
	counted(path, MANY);
	close_pool();
}

int main(int argc, char **argv)
{
	bool arena = argc == 3 && !strcmp(argv[2], "arena");

	if (argc < 2 || (argc > 2 && !arena))
		errx(2, "usage: hot run|list [arena]");
	for (const struct path *path = arena ? arena_paths : paths; path->name; path++) {
		if (!strcmp(argv[1], "list"))
			printf("%s %u %u\n", path->name, path->margin, (MANY - FEW) * path->each);
		else
			run(path);
	}
	return 0;
}
