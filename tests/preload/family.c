/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under LD_PRELOAD the whole malloc family does what glibc's does, on both sides of
 * the threshold and across it; large blocks share no page; children go on as if the
 * memory were malloc's own.
 */
#include "start.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t threshold = 8192;
static const size_t sizes[] = {
	0,     1,      100,   4096,      8191,      8192,       8193,
	65536, 100000, T_MIB, T_MIB + 1, 5 * T_MIB, 40 * T_MIB, 100 * T_MIB
};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static void fill(unsigned char *block, size_t size, unsigned char value)
{
	if (size)
		memset(block, value, size);
	/* Else the compiler knows that nobody looks. */
	__asm__ volatile("" : : "r"(block) : "memory");
}

static void expect(const unsigned char *block, size_t size, unsigned char value)
{
	for (size_t i = 0; i < size; i += i < 64 || size - i < 64 ? 1 : 61)
		T_CHECKF(block[i] == value, "byte %zu of %zu is %u, not %u", i, size, block[i],
			 value);
}

static void each_size(void)
{
	for (unsigned i = 0; i < SIZES; i++) {
		size_t size = sizes[i];
		unsigned char *block = malloc(size);

		T_CHECKF(block && malloc_usable_size(block) >= size, "malloc(%zu): %p, usable %zu",
			 size, (void *)block, malloc_usable_size(block));
		T_CHECKF(((uintptr_t)block & (size < threshold ? 15 : t_page() - 1)) == 0,
			 "malloc(%zu) is %p", size, (void *)block);
		fill(block, malloc_usable_size(block), 7);
		free(block);
		/* Very likely the same memory. */
		block = calloc(size, 1);
		T_CHECK(block);
		expect(block, size, 0);
		fill(block, size, 9);
		free(block);
	}
	free(NULL);
	T_CHECK(malloc_usable_size(NULL) == 0);
}

static void every_realloc(void)
{
	for (unsigned i = 0; i < SIZES; i++)
		for (unsigned j = 0; j < SIZES; j++) {
			size_t from = sizes[i], to = sizes[j];
			unsigned char *block = malloc(from);

			fill(block, from, 3);
			block = realloc(block, to);
			T_CHECKF(block || !to, "realloc from %zu to %zu", from, to);
			expect(block, from < to ? from : to, 3);
			if (to)
				T_CHECK(malloc_usable_size(block) >= to);
			free(block);
		}
}

/* As a program that reads a file of unknown length does. */
static void grow_step_by_step(void)
{
	unsigned char *block = NULL;

	for (size_t size = T_MIB; size <= 64 * T_MIB; size += T_MIB) {
		block = realloc(block, size);
		T_CHECK(block);
		block[size - 1] = (unsigned char)(size / T_MIB);
	}
	for (size_t size = T_MIB; size <= 64 * T_MIB; size += T_MIB)
		T_CHECK(block[size - 1] == size / T_MIB);
	free(block);
}

static void alignments(void)
{
	for (size_t align = sizeof(void *); align <= 4 * T_MIB; align *= 2)
		for (unsigned i = 0; i < SIZES; i++) {
			void *block = NULL;

			T_CHECK(!posix_memalign(&block, align, sizes[i]));
			T_CHECKF(!((uintptr_t)block & (align - 1)), "%p is no multiple of %zu",
				 block, align);
			free(block);
			block = memalign(align, sizes[i]);
			T_CHECK(block && !((uintptr_t)block & (align - 1)));
			block = realloc(block, 2 * sizes[i] + 1);
			T_CHECK(block);
			free(block);
		}
	free(valloc(10000));
	free(pvalloc(10000));
	free(aligned_alloc(64, 12800));
}

static void bad_sizes(void)
{
	void *block = malloc(100000);
	void *other = NULL;
	/* A block that nobody looks at is one that a compiler need not ask for. */
	void *volatile none;
	volatile size_t huge = SIZE_MAX / 2;

	T_FAILS(!(none = malloc(huge)), ENOMEM);
	T_FAILS(!(none = malloc((size_t)1 << 46)), ENOMEM);
	T_FAILS(!(none = calloc(huge, 4)), ENOMEM);
	T_FAILS(!(none = realloc(block, huge)), ENOMEM);
	T_FAILS(!(none = reallocarray(block, huge, 4)), ENOMEM);
	T_CHECK(posix_memalign(&other, 3, 100000) == EINVAL);
	T_CHECK(posix_memalign(&other, 24, 100000) == EINVAL);
	T_CHECK(posix_memalign(&other, 64, huge) == ENOMEM && !other);
	free(block);
}

static int complain_about_sizes(void *arg)
{
	(void)arg;
	bad_sizes();
	return T_PASS;
}

/* What nobody touches costs nothing. */
static void sparse(void)
{
	size_t before = t_rss();
	unsigned char *block = calloc(1, 2048 * T_MIB);
	unsigned char *other = malloc(2048 * T_MIB);

	T_CHECK(block && other);
	block[1024 * T_MIB] = 1;
	other[1024 * T_MIB] = 1;
	T_CHECKF(t_rss() < before + 16 * T_MIB, "%zu bytes for two pages", t_rss() - before);
	free(block);
	free(other);
}

/* Large blocks go back to the kernel when they are freed. */
static void given_back(void)
{
	size_t before = t_rss();
	unsigned char *block = malloc(300 * T_MIB);

	fill(block, 300 * T_MIB, 1);
	T_CHECK(t_rss() > before + 250 * T_MIB);
	free(block);
	T_CHECKF(t_rss() < before + 32 * T_MIB, "%zu bytes are left", t_rss() - before);
}

struct heirloom {
	unsigned char *large, *huge;
	unsigned depth;
};

static int child(void *arg)
{
	struct heirloom *heirloom = arg;
	unsigned char *own = malloc(50000);

	expect(heirloom->large, 50000, 21);
	expect(heirloom->huge, 6 * T_MIB, 22);
	fill(heirloom->large, 50000, 31);
	fill(own, 50000, 32);
	free(heirloom->huge);
	heirloom->huge = malloc(6 * T_MIB);
	fill(heirloom->huge, 6 * T_MIB, 22);
	if (heirloom->depth--) {
		fill(heirloom->large, 50000, 21);
		t_fork_passes(child, heirloom);
	}
	expect(own, 50000, 32);
	free(own);
	return T_PASS;
}

static void inheritance(void)
{
	struct heirloom heirloom = { .large = malloc(50000),
				     .huge = malloc(6 * T_MIB),
				     .depth = 20 };

	fill(heirloom.large, 50000, 21);
	fill(heirloom.huge, 6 * T_MIB, 22);
	for (unsigned i = 0; i < 3; i++)
		t_fork_passes(child, &heirloom);
	expect(heirloom.large, 50000, 21);
	free(heirloom.large);
	free(heirloom.huge);
}

static _Atomic(bool) stop;

static void *churn(void *arg)
{
	struct t_rng rng = { .state = (uintptr_t)arg };
	unsigned char *kept[64] = { NULL };

	while (!stop) {
		unsigned i = (unsigned)t_below(&rng, 64);
		size_t size = t_log_uniform(&rng, 1, 4 * T_MIB);

		free(kept[i]);
		kept[i] = malloc(size);
		T_CHECK(kept[i]);
		kept[i][0] = kept[i][size - 1] = 1;
	}
	for (unsigned i = 0; i < 64; i++)
		free(kept[i]);
	return NULL;
}

static int busy_child(void *arg)
{
	struct t_rng rng = { .state = (uintptr_t)arg };

	for (unsigned i = 0; i < 300; i++) {
		size_t size = t_log_uniform(&rng, 1, 4 * T_MIB);
		unsigned char *block = calloc(1, size);

		T_CHECK(block && !block[size - 1]);
		block[size - 1] = 1;
		free(block);
	}
	return T_PASS;
}

static void fork_while_others_work(void)
{
	unsigned forks = t_quick() || T_SANITIZED ? 10 : 300;
	pthread_t thread[8];

	for (uintptr_t i = 0; i < 8; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, churn, (void *)(i + 1)));
	for (uintptr_t i = 0; i < forks; i++)
		t_fork_passes(busy_child, (void *)(i + 100));
	stop = true;
	for (unsigned i = 0; i < 8; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
}

static void errno_stays(void)
{
	static const size_t large[] = { 64, 8192, T_MIB, 64 * T_MIB };

	for (unsigned i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
		void *block = malloc(large[i]);

		T_CHECK(block);
		errno = ENOTTY + 1;
		free(block);
		T_CHECKF(errno == ENOTTY + 1, "free() of %zu bytes set errno to %d", large[i],
			 errno);
	}
}

int main(int argc, char **argv)
{
	struct t_caught caught;

	(void)argc;
	t_preload(argv, false, NULL);
	each_size();
	every_realloc();
	grow_step_by_step();
	alignments();
	t_catch(&caught, complain_about_sizes, NULL);
	T_CHECKF(!caught.status && !caught.len, "status %#x: %s", caught.status, caught.err);
	sparse();
	given_back();
	errno_stays();
	inheritance();
	fork_while_others_work();
	return T_PASS;
}
