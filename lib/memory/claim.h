/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CLAIM_H
#define RDM_CLAIM_H

/*
 * One range of addresses that is ours by agreement with nobody: it lies where neither the kernel
 * nor programs put anything of their own accord, and nothing is mapped there before it is used.
 * So it costs no address space, which RLIMIT_AS, mlockall() and batch systems count. Its first
 * part is the reserve; tables beside the reserve follow.
 *
 * Called by reserve.c and sidetable.c, under the quiesce lock, which guards it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Chooses a range with room for *size bytes, or fewer, and the tables beside them: the address of
 * the first, a multiple of 1 GiB, or 0. Nothing is mapped.
 */
uintptr_t rdm_claim_open(size_t *size);
void rdm_claim_close(void);

/* The next addresses for a table; NULL when there are none. */
void *rdm_claim_table(size_t bytes);
/* Whether all tables are between these addresses; false: there are none. Without a lock. */
bool rdm_claim_tables(uintptr_t *first, uintptr_t *end);

/*
 * Maps private memory at these addresses and nowhere else: 0, EEXIST where somebody else has
 * something there, or another errno value.
 */
int rdm_claim_map(void *addr, size_t length, int protection, int flags);

#endif
