/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FORK_COUNT_H
#define RDM_FORK_COUNT_H

/*
 * How often this process has forked, and what that cost: written by fork.c, read by whoever
 * tells others. No lock.
 */

#include <stdint.h>

/* One more fork(), in which our handlers took so long. */
void rdm_fork_counted(uint64_t ns);

/* fork() calls so far, and the time our handlers took in the last one. */
uint64_t rdm_fork_count(void);
uint64_t rdm_fork_last_ns(void);

#endif
