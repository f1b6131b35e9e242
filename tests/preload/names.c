/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each name under which the preload hands out memory, takes it or answers for it
 * (lib/preload/entries.list), tried: what a name hands out any other may take, on both sides of
 * the threshold; large blocks are the pool's; and what is taken is free.
 */
#include "start.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 100, LARGE = 100000 };

typedef void *alloc1(size_t a);
typedef void *alloc2(size_t a, size_t b);
typedef void *change(void *ptr, size_t a, size_t b);
typedef int aligned(void **ptr, size_t align, size_t size);
typedef void taker(void *ptr, size_t a, size_t b);
typedef size_t asker(void *ptr, size_t a, size_t b, int flags);

static void fill(void *block, size_t size)
{
	T_CHECKF(block, "no block of %zu bytes", size);
	memset(block, 5, size);
	__asm__ volatile("" : : "r"(block) : "memory");
}

static void expect(const unsigned char *block, size_t size, unsigned char value)
{
	for (size_t i = 0; i < size; i++)
		T_CHECKF(block[i] == value, "byte %zu of %zu is %u, not %u", i, size, block[i],
			 value);
}

static void *alloc_by(const char *kind, void *symbol, size_t size)
{
	void *block = NULL;

	if (!strcmp(kind, "calloc"))
		return ((alloc2 *)symbol)(size, 1);
	if (!strcmp(kind, "memalign"))
		return ((alloc2 *)symbol)(64, size);
	if (!strcmp(kind, "mallocx"))
		return ((alloc2 *)symbol)(size, 0);
	if (!strcmp(kind, "posix_memalign"))
		return ((aligned *)symbol)(&block, 64, size) ? NULL : block;
	if (!strncmp(kind, "new_aligned", 11))
		return ((change *)symbol)((void *)size, 64, 0);
	if (!strcmp(kind, "malloc") || !strcmp(kind, "valloc") || !strncmp(kind, "new", 3))
		return ((alloc1 *)symbol)(size);
	return NULL;
}

static bool hands_out(const char *kind)
{
	static const char *const kinds[] = { "malloc",         "calloc", "memalign",
					     "posix_memalign", "valloc", "mallocx" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kind, kinds[i]))
			return true;
	return !strncmp(kind, "new", 3);
}

static void try_giver(const char *name, const char *kind, void *symbol, size_t size)
{
	unsigned char *block = alloc_by(kind, symbol, size);

	T_CHECKF(block, "%s of %zu bytes", name, size);
	T_CHECKF(size < LARGE || !((uintptr_t)block & (t_page() - 1)), "%s: %p is not the pool's",
		 name, (void *)block);
	T_CHECKF(malloc_usable_size(block) >= size, "%s: usable %zu", name,
		 malloc_usable_size(block));
	if (!strcmp(kind, "calloc"))
		expect(block, size, 0);
	fill(block, size);
	block = realloc(block, 3 * size);
	expect(block, size, 5);
	free(block);
}

/* What was not given back would be seen in what is resident. */
static void try_taker(const char *name, void *symbol, size_t size)
{
	size_t before = t_rss();

	for (size_t i = 0; i < 400 * T_MIB / LARGE; i++) {
		void *block = malloc(size);

		fill(block, size);
		((taker *)symbol)(block, size, 0);
	}
	T_CHECKF(t_rss() < before + 150 * T_MIB, "%s: %zu bytes are left", name, t_rss() - before);
	((taker *)symbol)(NULL, 0, 0);
}

static void try_change(const char *name, const char *kind, void *symbol, size_t from, size_t to)
{
	unsigned char *block = malloc(from);
	bool is_array = !strcmp(kind, "reallocarray");

	fill(block, from);
	block = is_array ? ((change *)symbol)(block, to, 1) : ((change *)symbol)(block, to, 0);
	T_CHECKF(block, "%s from %zu to %zu", name, from, to);
	expect(block, from < to ? from : to, 5);
	free(block);
}

static void try_asker(const char *name, const char *kind, void *symbol, size_t size)
{
	void *block = malloc(size);
	size_t got;

	if (!strcmp(kind, "nallocx"))
		got = ((asker *)symbol)((void *)size, 0, 0, 0);
	else
		got = ((asker *)symbol)(block, 0, 0, 0);
	T_CHECKF(got >= size, "%s of a block of %zu bytes: %zu", name, size, got);
	free(block);
}

static bool is_one_of(const char *kind, const char *const words[])
{
	for (; *words; words++)
		if (!strcmp(kind, *words))
			return true;
	return false;
}

/* Whether it could be tried. */
static bool try(const char *name, const char *kind, void *symbol, size_t size)
{
	static const char *const changes[] = { "realloc", "reallocarray", "rallocx", NULL };
	static const char *const takers[] = { "free", "dallocx", "sdallocx", NULL };
	static const char *const askers[] = { "usable", "xallocx", "sallocx", "nallocx", NULL };

	if (hands_out(kind)) {
		try_giver(name, kind, symbol, size);
	} else if (is_one_of(kind, takers)) {
		if (!strcmp(kind, "dallocx"))
			((taker *)symbol)(malloc(size), 0, 0);
		else if (!strcmp(kind, "sdallocx"))
			((taker *)symbol)(malloc(size), size, 0);
		else
			try_taker(name, symbol, size);
	} else if (is_one_of(kind, changes)) {
		try_change(name, kind, symbol, size, SMALL);
		try_change(name, kind, symbol, size, LARGE);
		try_change(name, kind, symbol, size, 5 * T_MIB);
	} else if (is_one_of(kind, askers)) {
		try_asker(name, kind, symbol, size);
	} else {
		return false;
	}
	return true;
}

static void each_row(FILE *list)
{
	char line[512], name[128], kind[32];
	unsigned tried = 0;

	while (fgets(line, sizeof(line), list)) {
		void *symbol;

		if (*line == '#' || sscanf(line, "%127s %31s", name, kind) != 2)
			continue;
		symbol = dlsym(RTLD_DEFAULT, name);
		if (!symbol && !strcmp(kind, "verbs"))
			continue;
		T_CHECKF(symbol, "there is no %s", name);
		tried += try(name, kind, symbol, SMALL);
		try(name, kind, symbol, LARGE);
	}
	T_CHECKF(tried > 75, "%u names were tried", tried);
}

/* jemalloc's, with what is in the flags. */
static void flags(void)
{
	void *(*mallocx)(size_t, int) = (void *(*)(size_t, int))dlsym(RTLD_DEFAULT, "mallocx");
	void *(*rallocx)(void *, size_t, int) =
		(void *(*)(void *, size_t, int))dlsym(RTLD_DEFAULT, "rallocx");
	static const size_t sizes[] = { SMALL, LARGE, 3 * T_MIB };

	for (unsigned i = 0; i < 3; i++)
		for (int log = 4; log <= 20; log++) {
			unsigned char *block = malloc(sizes[i]);

			fill(block, sizes[i]);
			free(block);
			/* 0x40: zeros. */
			block = mallocx(sizes[i], log | 0x40);
			T_CHECKF(!((uintptr_t)block & (((size_t)1 << log) - 1)), "%p, of 2^%d",
				 (void *)block, log);
			expect(block, sizes[i], 0);
			fill(block, sizes[i]);
			block = rallocx(block, 2 * sizes[i], log);
			T_CHECKF(!((uintptr_t)block & (((size_t)1 << log) - 1)), "%p, of 2^%d",
				 (void *)block, log);
			expect(block, sizes[i], 5);
			free(block);
		}
}

static void too_much(void)
{
	static const char *const names[] = { "__libc_malloc", "tc_malloc", "_ZnwmRKSt9nothrow_t",
					     "mallocx" };

	for (unsigned i = 0; i < 2; i++) {
		alloc1 *give = (alloc1 *)dlsym(RTLD_DEFAULT, names[i]);
		void *volatile none;

		T_FAILS(!(none = give((size_t)1 << 46)), ENOMEM);
		T_FAILS(!(none = give(SIZE_MAX / 2)), ENOMEM);
	}
}

int main(int argc, char **argv)
{
	const char *source = getenv("RDM_SRCDIR");
	char path[4096];
	FILE *list;

	(void)argc;
	t_preload(argv, false, NULL);
	snprintf(path, sizeof(path), "%s/lib/preload/entries.list", source ? source : ".");
	list = fopen(path, "r");
	T_CHECKF(list, "%s: %s", path, strerror(errno));
	each_row(list);
	fclose(list);
	flags();
	too_much();
	return T_PASS;
}
