/* SPDX-License-Identifier: BSD-2-Clause */
#include "table.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"

#define CELL_BYTES 64

const char *const sort_words[] = { "live", "pinned", "cached", "forks", "name" };
const size_t sort_count = sizeof(sort_words) / sizeof(sort_words[0]);

/* A column of a table whose rows are `row`. */
struct column {
	const char *title;
	int width;     /* negative: the text begins at the left */
	unsigned from; /* terminals of that width show it */
	void (*print)(const void *row, char *cell);
};

struct pool_row {
	const struct watched *watched;
	const struct rdm_picture_pool *pool;
	uint32_t index;
};

struct sums table_sum(const struct heap *heap)
{
	struct sums sums = { 0 };

	for (uint32_t i = 0; heap->header && i < heap->header->pools; i++) {
		const struct rdm_picture_pool *pool = &heap->pools[i];

		sums.slabs += pool->slabs;
		sums.slab_bytes += pool->slab_bytes;
		sums.live += pool->live_bytes;
		sums.cached += heap_cached(pool);
		sums.pinned += pool->pinned_bytes;
	}
	return sums;
}

static void print_number(uint64_t number, char *cell)
{
	snprintf(cell, CELL_BYTES, "%" PRIu64, number);
}

static void print_bytes(uint64_t bytes, char *cell)
{
	char text[16];

	heap_size(bytes, text);
	snprintf(cell, CELL_BYTES, "%s", text);
}

/* "   #####====....": live, cached, free. */
static void print_bar(uint64_t live, uint64_t cached, uint64_t all, char *cell)
{
	enum { BAR = 20 };
	unsigned full = all ? (unsigned)(live * BAR / all) : 0;
	unsigned kept = all ? (unsigned)(cached * BAR / all) : 0;

	for (unsigned i = 0; i < BAR; i++)
		cell[i] = i < full ? '#' : i < full + kept ? 'c' : '.';
	cell[BAR] = '\0';
}

#define PROCESS(row) ((const struct watched *)(row))
#define HEADER(row) (PROCESS(row)->now.header)

static void process_pid(const void *row, char *cell)
{
	print_number((uint64_t)PROCESS(row)->now.pid, cell);
}

static void process_user(const void *row, char *cell)
{
	const struct passwd *user = getpwuid(PROCESS(row)->now.user);

	if (user)
		snprintf(cell, CELL_BYTES, "%s", user->pw_name);
	else
		print_number(PROCESS(row)->now.user, cell);
}

static void process_program(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%s", PROCESS(row)->now.program);
}

static void process_pools(const void *row, char *cell)
{
	print_number(HEADER(row)->pools, cell);
}

static void process_slabs(const void *row, char *cell)
{
	print_number(table_sum(&PROCESS(row)->now).slabs, cell);
}

static void process_size(const void *row, char *cell)
{
	print_bytes(table_sum(&PROCESS(row)->now).slab_bytes, cell);
}

static void process_live(const void *row, char *cell)
{
	print_bytes(table_sum(&PROCESS(row)->now).live, cell);
}

static void process_cached(const void *row, char *cell)
{
	print_bytes(table_sum(&PROCESS(row)->now).cached, cell);
}

static void process_pinned(const void *row, char *cell)
{
	print_bytes(table_sum(&PROCESS(row)->now).pinned, cell);
}

static void process_forks(const void *row, char *cell)
{
	print_number(HEADER(row)->forks, cell);
}

static void process_fork_cost(const void *row, char *cell)
{
	double us = (double)HEADER(row)->last_fork_ns / 1e3;

	if (!HEADER(row)->forks)
		snprintf(cell, CELL_BYTES, "-");
	else if (us < 10000)
		snprintf(cell, CELL_BYTES, "%.0fus", us);
	else
		snprintf(cell, CELL_BYTES, "%.0fms", us / 1e3);
}

static void process_age(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.0fs", heap_age(HEADER(row)->time_ns));
}

static void process_reserve(const void *row, char *cell)
{
	print_bytes(HEADER(row)->reserve_bytes, cell);
}

static void process_version(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%s%s", HEADER(row)->library,
		 HEADER(row)->flags & RDM_PICTURE_PRELOAD ? " preload" : "");
}

static void process_bar(const void *row, char *cell)
{
	struct sums sums = table_sum(&PROCESS(row)->now);

	print_bar(sums.live, sums.cached, sums.slab_bytes, cell);
}

static const struct column process_columns[] = {
	{ "PID", 7, 0, process_pid },
	{ "USER", -8, 0, process_user },
	{ "PROGRAM", -11, 0, process_program },
	{ "POOLS", 5, 80, process_pools },
	{ "SLABS", 5, 80, process_slabs },
	{ "SIZE", 6, 130, process_size },
	{ "LIVE", 6, 0, process_live },
	{ "CACHED", 6, 0, process_cached },
	{ "PINNED", 6, 0, process_pinned },
	{ "FORKS", 5, 80, process_forks },
	{ "COST", 6, 80, process_fork_cost },
	{ "AGE", 4, 100, process_age },
	{ "RESERVE", 7, 110, process_reserve },
	{ "VERSION", -13, 130, process_version },
	{ "LIVE, CACHED, FREE", -20, 150, process_bar },
};

#define POOL(row) (((const struct pool_row *)(row))->pool)

static void pool_name(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%s%s", POOL(row)->name,
		 POOL(row)->flags & RDM_PICTURE_POOL_INHERITED ? " (inherited)" : "");
}

static void pool_slabs(const void *row, char *cell)
{
	print_number(POOL(row)->slabs, cell);
}

static void pool_size(const void *row, char *cell)
{
	print_bytes(POOL(row)->slab_bytes, cell);
}

static void pool_live(const void *row, char *cell)
{
	print_bytes(POOL(row)->live_bytes, cell);
}

static void pool_cached(const void *row, char *cell)
{
	print_bytes(heap_cached(POOL(row)), cell);
}

static void pool_pinned(const void *row, char *cell)
{
	print_bytes(POOL(row)->pinned_bytes, cell);
}

static void pool_fragmentation(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%.0f%%", 100 * heap_fragmentation(POOL(row)));
}

static void pool_depot(const void *row, char *cell)
{
	double hits = heap_depot_hits(POOL(row));

	if (hits < 0)
		snprintf(cell, CELL_BYTES, "-");
	else
		snprintf(cell, CELL_BYTES, "%.0f%%", 100 * hits);
}

static void pool_refills(const void *row, char *cell)
{
	const struct pool_row *this = row;
	const struct heap *now = &this->watched->now, *before = &this->watched->before;
	double seconds, refills;

	snprintf(cell, CELL_BYTES, "-");
	if (!before->header || this->index >= before->header->pools ||
	    now->header->time_ns <= before->header->time_ns ||
	    strcmp(before->pools[this->index].name, this->pool->name) != 0 ||
	    before->pools[this->index].refills > this->pool->refills)
		return;
	seconds = (double)(now->header->time_ns - before->header->time_ns) / 1e9;
	refills = (double)(this->pool->refills - before->pools[this->index].refills);
	snprintf(cell, CELL_BYTES, "%.0f", refills / seconds);
}

static void pool_audit(const void *row, char *cell)
{
	heap_audit(POOL(row), cell, CELL_BYTES);
}

static void pool_rails(const void *row, char *cell)
{
	heap_rails(POOL(row), cell, CELL_BYTES);
}

static void pool_fork(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%s", heap_policy(POOL(row)));
}

static void pool_backing(const void *row, char *cell)
{
	snprintf(cell, CELL_BYTES, "%s %s", heap_backing(POOL(row)), heap_pages(POOL(row)));
}

static void pool_blocks(const void *row, char *cell)
{
	print_number(POOL(row)->live_blocks, cell);
}

static void pool_growths(const void *row, char *cell)
{
	print_number(POOL(row)->growths, cell);
}

static void pool_bar(const void *row, char *cell)
{
	print_bar(POOL(row)->live_bytes, heap_cached(POOL(row)), POOL(row)->slab_bytes, cell);
}

static const struct column pool_columns[] = {
	{ "POOL", -12, 0, pool_name },         { "SLABS", 5, 0, pool_slabs },
	{ "SIZE", 6, 80, pool_size },          { "LIVE", 6, 0, pool_live },
	{ "CACHED", 6, 0, pool_cached },       { "PINNED", 6, 0, pool_pinned },
	{ "FRAG", 4, 80, pool_fragmentation }, { "DEPOT", 5, 80, pool_depot },
	{ "BLOCKS", 8, 110, pool_blocks },     { "REFILLS/s", 9, 120, pool_refills },
	{ "MADE", 5, 130, pool_growths },      { "FORK", -10, 130, pool_fork },
	{ "MEMORY", -12, 150, pool_backing },  { "LIVE, CACHED, FREE", -20, 170, pool_bar },
	{ "AUDIT", -12, 0, pool_audit },       { "RAILS", -30, 0, pool_rails },
};

/* Rows are cut at the width of the terminal. row: NULL for the titles. */
static void print_row(const struct column *columns, size_t count, const void *row, char *line,
		      unsigned width)
{
	size_t used = 0;

	*line = '\0';
	for (size_t i = 0; i < count && used + 1 < LINE_BYTES; i++) {
		const struct column *column = &columns[i];
		int most = column->width < 0 ? -column->width : column->width;
		char cell[CELL_BYTES];

		if (width < column->from)
			continue;
		if (row)
			column->print(row, cell);
		else
			snprintf(cell, sizeof(cell), "%s", column->title);
		used += (size_t)snprintf(line + used, LINE_BYTES - used, "%s%*.*s", used ? " " : "",
					 column->width, most, cell);
	}
	if (used >= LINE_BYTES)
		used = LINE_BYTES - 1;
	if (used > width)
		used = width;
	while (used && line[used - 1] == ' ')
		used--;
	line[used] = '\0';
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void table_process_head(char *line, unsigned width)
{
	print_row(process_columns, COUNT(process_columns), NULL, line, width);
}

void table_process(const struct watched *watched, char *line, unsigned width)
{
	if (watched->now.header)
		print_row(process_columns, COUNT(process_columns), watched, line, width);
	else
		snprintf(line, LINE_BYTES, "%7d %.*s", (int)watched->now.pid,
			 width > 8 ? (int)width - 8 : 0, watched->now.problem);
}

void table_pool_head(char *line, unsigned width)
{
	print_row(pool_columns, COUNT(pool_columns), NULL, line, width);
}

void table_pool(const struct watched *watched, uint32_t pool, char *line, unsigned width)
{
	const struct pool_row row = { watched, &watched->now.pools[pool], pool };

	print_row(pool_columns, COUNT(pool_columns), &row, line, width);
}

/* What is sorted by, the largest first. */
static uint64_t process_rank(const struct watched *watched, enum sort_order order)
{
	struct sums sums = table_sum(&watched->now);

	switch (order) {
	case SORT_LIVE:
		return sums.live;
	case SORT_PINNED:
		return sums.pinned;
	case SORT_CACHED:
		return sums.cached;
	case SORT_FORKS:
		return watched->now.header ? watched->now.header->forks : 0;
	case SORT_NAME:
		break;
	}
	return 0;
}

static int compare_processes(const void *a, const void *b, void *arg)
{
	const struct watched *left = a, *right = b;
	enum sort_order order = *(const enum sort_order *)arg;
	uint64_t of_left = process_rank(left, order), of_right = process_rank(right, order);
	int names = order == SORT_NAME ? strcmp(left->now.program, right->now.program) : 0;

	if (of_left != of_right)
		return of_left < of_right ? 1 : -1;
	return names ? names : (int)left->now.pid - (int)right->now.pid;
}

void table_sort(struct watched *watched, size_t count, enum sort_order order)
{
	if (count)
		qsort_r(watched, count, sizeof(*watched), compare_processes, &order);
}

struct pool_order {
	const struct heap *heap;
	enum sort_order order;
};

static uint64_t pool_rank(const struct rdm_picture_pool *pool, enum sort_order order)
{
	switch (order) {
	case SORT_LIVE:
		return pool->live_bytes;
	case SORT_PINNED:
		return pool->pinned_bytes;
	case SORT_CACHED:
		return heap_cached(pool);
	case SORT_FORKS:
	case SORT_NAME:
		break;
	}
	return 0;
}

static int compare_pools(const void *a, const void *b, void *arg)
{
	const struct pool_order *this = arg;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	const struct rdm_picture_pool *pools = this->heap->pools;
	uint64_t of_left = pool_rank(&pools[left], this->order);
	uint64_t of_right = pool_rank(&pools[right], this->order);
	int names = this->order == SORT_NAME ? strcmp(pools[left].name, pools[right].name) : 0;

	if (of_left != of_right)
		return of_left < of_right ? 1 : -1;
	return names ? names : (left > right) - (left < right);
}

void table_sort_pools(const struct heap *heap, enum sort_order order,
		      uint32_t indices[RDM_PICTURE_POOLS])
{
	struct pool_order this = { heap, order };

	for (uint32_t i = 0; i < heap->header->pools; i++)
		indices[i] = i;
	if (heap->header->pools)
		qsort_r(indices, heap->header->pools, sizeof(indices[0]), compare_pools, &this);
}
