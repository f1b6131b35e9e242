/* SPDX-License-Identifier: BSD-2-Clause */
/* The floors: of a key look-up a call, of fork() a process that has nothing. */
#include "config.h"

#include "subjects/empty.h"
#include "worker.h"

#define SUBJECT_NAME "empty"
#define SUBJECT_KEY 1
#define PIECE ((size_t)2 << 20)

static const char *subject_open(void)
{
	return NULL;
}

/* Addresses only: nobody looks at them. */
static const char *subject_key_set(struct bench_range *range, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		range[i] =
			(struct bench_range){ .base = (char *)((i + 1) * PIECE), .length = PIECE };
	return NULL;
}

static inline uint64_t subject_key(const void *ptr)
{
	struct rdm_key key = { 0 };

	return (uint64_t)bench_empty(ptr, 0, &key) + key.lkey;
}

static void subject_key_unset(struct bench_range *range, unsigned n)
{
	(void)range;
	(void)n;
}

#define SUBJECT_WORKS                                \
	{                                            \
		"fork-hole", NULL, bench_forks, NULL \
	}

#include "loops.h"
