/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_PRELOAD_H
#define RDM_PRELOAD_PRELOAD_H

/*
 * What the preload's files share. Each of them takes the place of others' functions:
 * family.c of the malloc family, operators.c of C++'s, ibverbs.c of libibverbs', advice.c of
 * madvise, mlockall.c of mlockall, process.c of what makes processes, mpi.c of MPI's allocation,
 * account.c of what is asked about memory.
 */

#include <stdbool.h>
#include <stddef.h>

#define RDM_EXPORT __attribute__((visibility("default")))

/* Makes the pool, if it is not there. False: RDMALLOC_CONF=enabled:false, or there can be none. */
bool rdm_preload_open(void);

/* Whether a pool that is not there yet is not to be made: the next malloc has all blocks then. */
void rdm_preload_stand_back(bool back);

/* The pool, if there is one and it is in use in this process; it is not made. */
struct rdm_pool *rdm_preload_pool(void);

/* A block of the pool, or NULL with errno as it was. Alignment is a power of two. */
void *rdm_preload_alloc(size_t alignment, size_t size);

#endif
