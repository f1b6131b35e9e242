/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rdmalloc.h"
#include "worker.h"

#ifdef SIZED
#define SUBJECT_NAME "rdmalloc-sized"
#else
#define SUBJECT_NAME "rdmalloc"
#endif
#define SUBJECT_VERSION rdm_version()
#define SUBJECT_ALLOC 1

static rdm_pool *pool;

static const char *subject_open(void)
{
	pool = rdm_pool_create(NULL);
	return pool ? NULL : bench_why("rdm_pool_create: %s", strerror(errno));
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

#include "loops.h"
