/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_PRELOAD_H
#define RDM_PRELOAD_PRELOAD_H

/*
 * What the preload's files share. Each of them takes the place of others' functions:
 * family.c of the malloc family, operators.c of C++'s, ibverbs.c of libibverbs', advice.c of
 * madvise, protection.c of mprotect and its like, mlockall.c of mlockall, process.c of what makes
 * processes, mpi.c of MPI's allocation.
 */

#include <stdbool.h>
#include <stddef.h>

#define RDM_EXPORT __attribute__((visibility("default")))

/* Makes the pool, if it is not there. False: RDMALLOC_CONF=enabled:false, or there can be none. */
bool rdm_preload_open(void);

/* Whether a pool that is not there yet is not to be made: the next malloc has all blocks then. */
void rdm_preload_stand_back(bool back);

/* A block of the pool, or NULL with errno as it was. Alignment is a power of two. */
void *rdm_preload_alloc(size_t alignment, size_t size);

/* Of madvise(): which kinds of notes (notes.h) an advice makes, and which it ends. */
unsigned rdm_advice_kinds(int advice);
unsigned rdm_advice_undone(int advice);

#endif
