/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_PAGEMAP_H
#define TOOLS_PAGEMAP_H

/*
 * Which pages are behind a range of another process, as the kernel tells. Linux 6.7 says it of any
 * range (PAGEMAP_SCAN), older ones of a mapping as a whole: then what is mixed stays unknown.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct backing_map;

/* NULL: the kernel tells nothing. To be closed. */
struct backing_map *backing_open(pid_t pid);
void backing_close(struct backing_map *map);

struct backing {
	bool known;
	uint64_t present; /* bytes in memory */
	uint64_t huge;    /* of these, in huge pages */
};
struct backing backing_measure(const struct backing_map *map, uint64_t base, uint64_t length);

/* "huge", "4K", "37% huge", "absent" or "?". */
void backing_print(const struct backing *backing, uint64_t page_bytes, char text[24]);

#endif
