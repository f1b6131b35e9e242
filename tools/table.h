/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_TABLE_H
#define TOOLS_TABLE_H

/*
 * The two tables of rdmalloc top: a line for each process, and one for each pool of one. A table
 * leaves out columns that a terminal has no room for, the least important first.
 */

#include <stddef.h>
#include <stdint.h>

#include "published.h"

#define LINE_BYTES 512

enum sort_order { SORT_LIVE, SORT_PINNED, SORT_CACHED, SORT_FORKS, SORT_NAME };
extern const char *const sort_words[];
extern const size_t sort_count;

/* A process, and how it was when one looked last. */
struct watched {
	struct heap now;
	struct heap before;     /* its header is NULL: there is none */
	enum heap_error status; /* of now */
};

/* What all of its pools have. */
struct sums {
	uint64_t slabs, slab_bytes, live, cached, pinned;
};
struct sums table_sum(const struct heap *heap);

void table_process_head(char *line, unsigned width);
void table_process(const struct watched *watched, char *line, unsigned width);
void table_pool_head(char *line, unsigned width);
void table_pool(const struct watched *watched, uint32_t pool, char *line, unsigned width);

void table_sort(struct watched *watched, size_t count, enum sort_order order);
/* The pools' indices in that order. */
void table_sort_pools(const struct heap *heap, enum sort_order order,
		      uint32_t indices[RDM_PICTURE_POOLS]);

#endif
