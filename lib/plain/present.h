/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRESENT_H
#define RDM_PRESENT_H

/*
 * What the kernel says of this process's pages: which there are, in memory or swapped out,
 * without making them; and how many are pinned.
 * Called while fork() runs, and by free(): no lock, no allocation, and errno stays.
 */

#include <stdbool.h>
#include <stddef.h>

/* A descriptor to ask with; -1: nothing can be said, and everything counts as present. */
int rdm_present_open(void);
void rdm_present_close(int fd);

/* How far the pages from `from` on are all present, or all absent, up to `end`. */
size_t rdm_present_run(int fd, const char *from, const char *end, bool *present);

/* Whole pages. */
struct rdm_present {
	char *addr;
	size_t length;
};
enum { RDM_PRESENT_FEW = 16 };
/* The pages of a range that there are, if so few: how many runs they make up. -1: more, or nobody can say. */
int rdm_present_few(char *from, size_t length, struct rdm_present runs[RDM_PRESENT_FEW]);

/* Pages that are pinned, by whomever (VmPin); 0 where the kernel does not say. */
size_t rdm_present_pinned(void);

#endif
