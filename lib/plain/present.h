/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRESENT_H
#define RDM_PRESENT_H

/*
 * Which pages of this process there are, in memory or swapped out: asked of the kernel, without
 * making them.
 * Called while fork() runs, and by free(): no lock, no allocation, and errno stays.
 */

#include <stdbool.h>
#include <stddef.h>

/* A descriptor to ask with; -1: nothing can be said, and everything counts as present. */
int rdm_present_open(void);
void rdm_present_close(int fd);

/* How far the pages from `from` on are all present, or all absent, up to `end`. */
size_t rdm_present_run(int fd, const char *from, const char *end, bool *present);

/* What a page is: this process's own, of a file or of memory that is shared, or not known yet. */
enum rdm_page { RDM_PAGE_ABSENT, RDM_PAGE_OWN, RDM_PAGE_OTHER };
/* Of up to 64 pages; false: nothing can be said. */
bool rdm_present_kinds(int fd, const char *from, size_t pages, enum rdm_page kind[]);

/* Whole pages. */
struct rdm_present {
	char *addr;
	size_t length;
};
enum { RDM_PRESENT_FEW = 16 };
/* The pages of a range that there are, if so few: how many runs they make up. -1: more, or nobody can say. */
int rdm_present_few(char *from, size_t length, struct rdm_present runs[RDM_PRESENT_FEW]);

#endif
