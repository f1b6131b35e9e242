/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_BUFFER_H
#define BENCH_BUFFER_H

/* A buffer as a program has it that registers each one: malloc's, on pages of its own. */

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static size_t buffer_page;

static inline void buffer_setup(void)
{
	buffer_page = (size_t)sysconf(_SC_PAGESIZE);
	/* As MPI libraries do: else a large buffer is mapped and faulted in each time. */
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, INT32_MAX);
}

static inline void *buffer_alloc(size_t size)
{
	return aligned_alloc(buffer_page, size);
}

#endif
