/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_PRELOAD_H
#define RDM_PRELOAD_PRELOAD_H

/*
 * What the preload's files share. Each of them takes the place of others' functions:
 * family.c of the malloc family, operators.c of C++'s, ibverbs.c of libibverbs', advice.c of
 * madvise, mlockall.c of mlockall, process.c of what makes processes, mpi.c of MPI's allocation,
 * sandbox.c of prctl.
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

/*
 * From now on blocks of any size come from the pool, which is open; or no more. As often on as
 * off: of threads that say so the last one ends it.
 */
void rdm_preload_serve_all(bool on);

/* Before a system call of the program's: it may be the one that locks it into a sandbox. */
void rdm_preload_before_call(long number, long first);

#endif
