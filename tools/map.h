/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_MAP_H
#define RDM_TOOLS_MAP_H

#include "backing.h"
#include "published.h"

/* rdmalloc map: a picture of a heap, slab by slab. */
int rdm_map(int argc, char **argv);

/* A part of a slab, in bytes. */
struct rdm_map_part {
	uint64_t live, cached, free;
};
/* Column `column` of `columns` that a slab is drawn with. */
struct rdm_map_part rdm_map_part(const struct rdm_heap *heap, const struct rdm_page_slab *slab,
				 unsigned column, unsigned columns);

/* The same as one SVG. 0, or -1 with errno. backing may be NULL. */
int rdm_map_write_svg(const struct rdm_heap *heap, const struct rdm_backing_map *backing,
		      const char *path);

#endif
