/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever malloc the process has: glibc's, or the one of a library in LD_PRELOAD. */
#include "config.h"

#include <gnu/libc-version.h>
#include <stdlib.h>

#define SUBJECT_NAME "malloc"
#define SUBJECT_VERSION gnu_get_libc_version()
#define SUBJECT_ALLOC 1

#include "worker.h"

static const char *subject_open(void)
{
	return NULL;
}

static inline void *subject_alloc(size_t size)
{
	return malloc(size);
}

static inline void subject_free(void *ptr, size_t size)
{
	(void)size;
	free(ptr);
}

#include "loops.h"
