/* SPDX-License-Identifier: BSD-2-Clause */
/* The bench's own loops around nothing: these instructions are no subject's. */
#include "config.h"

#include "worker.h"

#define SUBJECT_NAME "floor"
#define SUBJECT_ALLOC 1
#define SUBJECT_KEY 1

static char block[64];

static const char *subject_open(void)
{
	return NULL;
}

static inline void *subject_alloc(size_t size)
{
	void *ptr = block;

	/* The compiler must not know what it is, as of any other allocator's. */
	__asm__ volatile("" : "+r"(ptr) : "r"(size));
	return ptr;
}

static inline void subject_free(void *ptr, size_t size)
{
	__asm__ volatile("" : : "r"(ptr), "r"(size));
}

static const char *subject_key_set(struct bench_range *range, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		range[i] = (struct bench_range){ .base = block, .length = sizeof(block) };
	return NULL;
}

static inline uint64_t subject_key(const void *ptr)
{
	uint64_t key = 0;

	__asm__ volatile("" : "+r"(key) : "r"(ptr));
	return key;
}

static void subject_key_unset(struct bench_range *range, unsigned n)
{
	(void)range;
	(void)n;
}

#include "loops.h"
