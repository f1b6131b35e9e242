/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_FIGURES_H
#define TOOLS_FIGURES_H

/*
 * What people and machines are told of a heap that was read (published.h).
 */

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "published.h"

enum heap_kind { GAUGE, COUNTER };

/* A number of each pool. */
struct heap_figure {
	const char *name;
	size_t offset;
	enum heap_kind kind;
	const char *meaning;
};
extern const struct heap_figure heap_figures[];
extern const size_t heap_figure_count;
uint64_t heap_figure(const struct rdm_picture_pool *pool, const struct heap_figure *figure);

/* The number, or the largest that JSON has here. */
json_t *json_number(uint64_t number);

/* A process, its pools, and all figures of each. */
json_t *heap_json(const struct heap *heap);

/* Bytes of free blocks that threads and the depot keep; and of what the arena keeps besides. */
uint64_t heap_cached(const struct rdm_picture_pool *pool);
uint64_t heap_stranded(const struct rdm_picture_pool *pool);
/* Of what is carved, the share that is neither live nor cached; 0 to 1. */
double heap_fragmentation(const struct rdm_picture_pool *pool);
/* Of the refills of magazines, the share that the depot answered; -1: there were none. */
double heap_depot_hits(const struct rdm_picture_pool *pool);
/* Seconds since a time of the picture. */
double heap_age(uint64_t time_ns);

/* "hole"; "?" when there is no such word. */
const char *heap_policy(const struct rdm_picture_pool *pool);
const char *heap_backing(const struct rdm_picture_pool *pool);
const char *heap_pages(const struct rdm_picture_pool *pool);
/* "mlx5_0 io_uring", or "-". */
void heap_rails(const struct rdm_picture_pool *pool, char *text, size_t size);
/* "ok 12s ago", "3 BAD 12s ago" or "never". */
void heap_audit(const struct rdm_picture_pool *pool, char *text, size_t size);
/* "12.3M", six characters at most. */
void heap_size(uint64_t bytes, char text[16]);

#endif
