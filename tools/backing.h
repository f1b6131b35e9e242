/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_BACKING_H
#define RDM_TOOLS_BACKING_H

/*
 * Which pages are behind a range of another process, as the kernel tells. Linux 6.7 says it of any
 * range (PAGEMAP_SCAN), older ones of a mapping as a whole: then what is mixed stays unknown.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct rdm_backing_map;

/* NULL: the kernel tells nothing. To be closed. */
struct rdm_backing_map *rdm_backing_open(pid_t pid);
void rdm_backing_close(struct rdm_backing_map *map);

struct rdm_backing {
	bool known;
	uint64_t present; /* bytes in memory */
	uint64_t huge;    /* of these, in huge pages */
};
struct rdm_backing rdm_backing_of(const struct rdm_backing_map *map, uint64_t base,
				  uint64_t length);

/* "huge", "4K", "37% huge", "absent" or "?". */
void rdm_backing_print(const struct rdm_backing *backing, uint64_t page_bytes, char text[24]);

#endif
