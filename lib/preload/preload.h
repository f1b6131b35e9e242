/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_PRELOAD_H
#define RDM_PRELOAD_PRELOAD_H

/*
 * What the preload's files share. Each of them takes the place of others' functions:
 * family.c of the malloc family, names.c of its other names, operators.c of C++'s, ibverbs.c of
 * libibverbs', advice.c of madvise, protection.c of mprotect and its like, mlockall.c of mlockall,
 * process.c of what makes processes, sandbox.c of what shuts them in, mpi.c of MPI's allocation,
 * account.c of what is asked about memory. entries.list has each of their names.
 */

#include <stdbool.h>
#include <stddef.h>

#define RDM_EXPORT __attribute__((visibility("default")))

/* A question, which makes nothing: false with RDMALLOC_CONF=enabled:false. */
bool rdm_preload_is_enabled(void);

/* Makes the pool, if it is not there. False: RDMALLOC_CONF=enabled:false, or there can be none. */
bool rdm_preload_open(void);

/* Whether a pool that is not there yet is not to be made: the next malloc has all blocks then. */
void rdm_preload_stand_back(bool back);

/* Whether a block of that size is to come from the pool. */
bool rdm_preload_is_large(size_t size);

/* The pool, if there is one and it is in use in this process; it is not made. */
struct rdm_pool *rdm_preload_pool(void);

/* A block of the pool, or NULL with errno as it was. Alignment is a power of two. */
void *rdm_preload_alloc(size_t alignment, size_t size);

/* The same, of zeros. */
void *rdm_preload_zeroed(size_t alignment, size_t size);

/*
 * From now on blocks of any size come from the pool, which is open; or no more. As often on as
 * off: of threads that say so the last one ends it.
 */
void rdm_preload_serve_all(bool on);

/* Of the system call that enters a sandbox (door.c): whether it is that, and what goes with it. */
bool rdm_preload_is_door(long number, unsigned long operation);
void rdm_preload_before_door(void);
void rdm_preload_behind_door(void);

/* Of madvise(): which kinds of notes (notes.h) an advice makes, and which it ends. */
unsigned rdm_advice_kinds(int advice);
unsigned rdm_advice_undone(int advice);
/* What prctl() leaves on pages. False with errno: it cannot be noted, and must not be done. */
bool rdm_preload_notes_prctl(int option, const unsigned long arg[4]);

#endif
