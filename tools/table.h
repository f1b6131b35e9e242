/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_TABLE_H
#define RDM_TOOLS_TABLE_H

/*
 * The two tables of rdmalloc top: a line for each process, and one for each pool of one. A table
 * leaves out columns that a terminal has no room for, the least important first.
 */

#include <stddef.h>
#include <stdint.h>

#include "published.h"

#define RDM_LINE_BYTES 512

enum rdm_sort { RDM_SORT_LIVE, RDM_SORT_PINNED, RDM_SORT_CACHED, RDM_SORT_FORKS, RDM_SORT_NAME };
extern const char *const rdm_sort_words[];
extern const size_t rdm_sort_count;

/* A process, and how it was when one looked last. */
struct rdm_watched {
	struct rdm_heap now;
	struct rdm_heap before;     /* its header is NULL: there is none */
	enum rdm_heap_error status; /* of now */
};

/* What all of its pools have. */
struct rdm_sums {
	uint64_t slabs, slab_bytes, live, cached, pinned;
};
struct rdm_sums rdm_table_sum(const struct rdm_heap *heap);

void rdm_table_process_head(char *line, unsigned width);
void rdm_table_process(const struct rdm_watched *watched, char *line, unsigned width);
void rdm_table_pool_head(char *line, unsigned width);
void rdm_table_pool(const struct rdm_watched *watched, uint32_t pool, char *line, unsigned width);

void rdm_table_sort(struct rdm_watched *watched, size_t count, enum rdm_sort order);
/* The pools' indices in that order. */
void rdm_table_sort_pools(const struct rdm_heap *heap, enum rdm_sort order,
			  uint32_t indices[RDM_PAGE_POOLS]);

#endif
