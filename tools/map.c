/* SPDX-License-Identifier: BSD-2-Clause */
#include "map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "figures.h"
#include "options.h"
#include "output.h"

/* What stands before a strip. */
#define PREFIX 31
#define STRIP_MIN 16
#define STRIP_MAX 128

static const struct command_option options[] = {
	{ .name = "svg",
	  .key = 's',
	  .argument = "FILE",
	  .or_next = true,
	  .meaning = "as a picture for a browser" },
	{ .name = "json", .key = 'j', .meaning = "one object, each slab in cells" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "it was drawn" },
	{ FINDING, "the process cannot be looked at or the file cannot be written, which a "
		   "line says" },
	{ USAGE, "wrong usage" },
	{ 0, NULL },
};

static const struct command command = {
	.name = "map",
	.operands = "PID",
	.about = "Draws the heap of a process that was started with RDMALLOC_CONF=publish:true: of "
		 "each slab what is live, cached and free, and which pages are behind it.",
	.options = options,
	.statuses = statuses,
};

struct map_part map_part(const struct heap *heap, const struct rdm_picture_slab *slab,
			 unsigned column, unsigned columns)
{
	uint64_t cells = slab->length >> heap->header->cell_shift;
	uint64_t first = cells * column / columns, last = cells * (column + 1) / columns;
	uint64_t bytes, live = 0, carved = 0;

	/* More columns than cells: a cell is drawn more than once. */
	if (last == first)
		last = first + 1;
	bytes = (last - first) << heap->header->cell_shift;
	for (uint64_t i = first; i < last; i++) {
		live += (uint64_t)heap->cells[slab->first_cell + i].live * 64;
		carved += (uint64_t)heap->cells[slab->first_cell + i].carved * 64;
	}
	live = live < bytes ? live : bytes;
	carved = carved < bytes ? carved : bytes;
	carved = carved > live ? carved : live;
	return (struct map_part){ live, carved - live, bytes - carved };
}

/* Columns of a strip: as many as fit. */
static unsigned strip_width(void)
{
	const char *text = getenv("COLUMNS");
	struct winsize size = { .ws_col = 0 };
	unsigned columns = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	if (!columns && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		columns = size.ws_col;
	if (!columns)
		columns = 80;
	if (columns < PREFIX + STRIP_MIN)
		return STRIP_MIN;
	return columns - PREFIX < STRIP_MAX ? columns - PREFIX : STRIP_MAX;
}

static void print_part(const struct map_part *part, bool quarantined)
{
	uint64_t bytes = part->live + part->cached + part->free;

	if (quarantined)
		print_coloured(stdout, COLOUR_RED, "x");
	else if (part->live * 10 >= bytes * 9)
		print_coloured(stdout, COLOUR_GREEN, "#");
	else if (part->live * 2 >= bytes)
		print_coloured(stdout, COLOUR_GREEN, "=");
	else if (part->live)
		print_coloured(stdout, COLOUR_GREEN, "-");
	else if (part->cached)
		print_coloured(stdout, COLOUR_YELLOW, "c");
	else
		print_coloured(stdout, COLOUR_PLAIN, ".");
}

static void print_slab(const struct heap *heap, const struct rdm_picture_slab *slab,
		       const struct backing_map *backing, unsigned width)
{
	struct backing behind = backing_measure(backing, slab->base, slab->length);
	char size[16], pages[24];

	heap_size(slab->length, size);
	backing_print(&behind, heap->header->page_bytes, pages);
	printf("%#" PRIx64 " %6s %-8s ", slab->base, size, pages);
	for (unsigned i = 0; i < width; i++) {
		struct map_part part = map_part(heap, slab, i, width);

		print_part(&part, slab->quarantined);
	}
	putchar('\n');
}

static void print_pool(const struct heap *heap, uint32_t index, const struct backing_map *backing,
		       unsigned width)
{
	const struct rdm_picture_pool *pool = &heap->pools[index];
	char slabs[16], live[16], cached[16], pinned[16];

	heap_size(pool->slab_bytes, slabs);
	heap_size(pool->live_bytes, live);
	heap_size(heap_cached(pool), cached);
	heap_size(pool->pinned_bytes, pinned);
	putchar('\n');
	print_coloured(stdout, COLOUR_BOLD, "pool %s", pool->name);
	printf(": %" PRIu64 " slab%s, %s; live %s, cached %s, pinned %s\n", pool->slabs,
	       pool->slabs == 1 ? "" : "s", slabs, live, cached, pinned);
	for (uint32_t i = 0; i < heap->header->slabs; i++)
		if (heap->slabs[i].pool == index)
			print_slab(heap, &heap->slabs[i], backing, width);
}

static void print_legend(const struct heap *heap)
{
	print_coloured(stdout, COLOUR_BOLD, "process %d, %s", (int)heap->pid, heap->program);
	printf(", %.1f s ago\nlive ", heap_age(heap->header->time_ns));
	print_coloured(stdout, COLOUR_GREEN, "#");
	fputs(" 90 % or more, ", stdout);
	print_coloured(stdout, COLOUR_GREEN, "=");
	fputs(" half, ", stdout);
	print_coloured(stdout, COLOUR_GREEN, "-");
	fputs(" less; ", stdout);
	print_coloured(stdout, COLOUR_YELLOW, "c");
	fputs(" cached, . free, ", stdout);
	print_coloured(stdout, COLOUR_RED, "x");
	puts(" quarantined");
}

static void print_text(const struct heap *heap, const struct backing_map *backing)
{
	unsigned width = strip_width();

	print_legend(heap);
	for (uint32_t i = 0; i < heap->header->pools; i++)
		print_pool(heap, i, backing, width);
	if (heap->header->slabs_left_out)
		printf("\n%u more slabs are left out\n", heap->header->slabs_left_out);
}

static json_t *slab_json(const struct heap *heap, const struct rdm_picture_slab *slab,
			 const struct backing_map *backing)
{
	struct backing behind = backing_measure(backing, slab->base, slab->length);
	unsigned cells = (unsigned)(slab->length >> heap->header->cell_shift);
	json_t *live = json_array(), *cached = json_array();
	char base[32];

	for (unsigned i = 0; i < cells; i++) {
		struct map_part part = map_part(heap, slab, i, cells);

		json_array_append_new(live, json_integer((json_int_t)part.live));
		json_array_append_new(cached, json_integer((json_int_t)part.cached));
	}
	snprintf(base, sizeof(base), "%#" PRIx64, slab->base);
	return json_pack("{s:s,s:o,s:s,s:i,s:o,s:b,s:o,s:o,s:o,s:o}", "address", base, "length",
			 json_number(slab->length), "pool", heap->pools[slab->pool].name,
			 "pool_index", (int)slab->pool, "pinned_bytes",
			 json_number(slab->pinned_bytes), "quarantined", slab->quarantined != 0,
			 "present_bytes", behind.known ? json_number(behind.present) : json_null(),
			 "huge_bytes", behind.known ? json_number(behind.huge) : json_null(),
			 "live", live, "cached", cached);
}

static int print_json(const struct heap *heap, const struct backing_map *backing)
{
	json_t *value = heap_json(heap);
	json_t *slabs = json_array();

	for (uint32_t i = 0; i < heap->header->slabs; i++)
		json_array_append_new(slabs, slab_json(heap, &heap->slabs[i], backing));
	json_object_set_new(value, "cell_bytes",
			    json_integer((json_int_t)1 << heap->header->cell_shift));
	json_object_set_new(value, "slabs", slabs);
	return output_json(value);
}

struct wanted {
	const char *svg;
	bool json;
};

static int show(pid_t pid, const struct wanted *wanted)
{
	struct backing_map *backing;
	struct heap heap;
	int failed = 0;

	if (!heap_read_or_say(&heap, pid))
		return FINDING;
	backing = backing_open(pid);
	if (wanted->svg) {
		failed = map_write_svg(&heap, backing, wanted->svg);
		if (failed)
			fprintf(stderr, "rdmalloc: %s: %s\n", wanted->svg, strerror(errno));
	} else if (wanted->json) {
		failed = print_json(&heap, backing);
	} else {
		print_text(&heap, backing);
	}
	backing_close(backing);
	heap_free(&heap);
	return failed ? FINDING : FINE;
}

static int take(void *into, int key, const char *argument)
{
	struct wanted *wanted = into;

	wanted->json = wanted->json || key == 'j';
	wanted->svg = key == 's' ? argument : wanted->svg;
	return GO_ON;
}

int command_map(int argc, char **argv)
{
	struct wanted wanted = { NULL, false };
	int status = options_parse(&command, argc, argv, take, &wanted);
	pid_t pid;

	if (status != GO_ON)
		return status;
	pid = argc - optind == 1 ? heap_parse_pid(argv[optind]) : -1;
	if (pid < 0)
		return usage_error(&command, "which process?");
	return show(pid, &wanted);
}
