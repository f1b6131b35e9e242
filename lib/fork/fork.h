/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FORK_H
#define RDM_FORK_H

/*
 * The one place that calls every module's fork handlers, in lock order:
 *
 *   quiesce: waits for registrations; code under it may call malloc
 *   gate: waits until no thread is inside jemalloc
 *   magazines: the registry of threads' caches, then the depots
 *   slab sets: leaf locks, taken inside jemalloc's hooks
 *   reserve: everything is MADV_DONTFORK again
 *   pins: a leaf lock; what programs registered is MADV_DONTFORK again
 *   snapshot: the copies for children
 *
 * The child mends its holes first. The handlers are registered before any ordinary
 * constructor runs: another library's child handler comes later and finds no hole.
 */

#include <stdbool.h>

/* Registers the handlers, once; a constructor does it when the library loads. */
void rdm_fork_init(void);

/*
 * Around what makes a process as fork() does, but calls no handlers: only what programs registered
 * is looked after, without waiting for a lock that this thread may hold, for it may be
 * in a signal handler. False: there is nothing to be done, and nothing afterwards.
 */
bool rdm_fork_bare_prefork(const void *stack);
void rdm_fork_bare_postfork(bool child);

#endif
