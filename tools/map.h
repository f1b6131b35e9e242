/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_MAP_H
#define TOOLS_MAP_H

#include "pagemap.h"
#include "published.h"

/* rdmalloc map: a picture of a heap, slab by slab. */
int command_map(int argc, char **argv);

/* A part of a slab, in bytes. */
struct map_part {
	uint64_t live, cached, free;
};
/* Column `column` of `columns` that a slab is drawn with. */
struct map_part map_part(const struct heap *heap, const struct rdm_picture_slab *slab,
			 unsigned column, unsigned columns);

/* The same as one SVG. 0, or -1 with errno. backing may be NULL. */
int map_write_svg(const struct heap *heap, const struct backing_map *backing, const char *path);

#endif
