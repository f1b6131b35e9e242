/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRESENT_H
#define RDM_PRESENT_H

/*
 * What the kernel says of this process's pages: which there are, in memory or swapped out,
 * without making them; and how many are pinned.
 * Called while fork() runs: no lock, no allocation.
 */

#include <stdbool.h>
#include <stddef.h>

/* A descriptor to ask with; -1: nothing can be said, and everything counts as present. */
int rdm_present_open(void);
void rdm_present_close(int fd);

/* How far the pages from `from` on are all present, or all absent, up to `end`. */
size_t rdm_present_run(int fd, const char *from, const char *end, bool *present);

/* Pages that are pinned, by whomever (VmPin); 0 where the kernel does not say. */
size_t rdm_present_pinned(void);

#endif
