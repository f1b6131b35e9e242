/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_GATE_H
#define RDM_GATE_H

/*
 * The way into jemalloc. Each call of it is made between enter and leave; fork()
 * waits until no thread is there and lets none in, so that the child has a jemalloc
 * with no lock held and nothing half done. jemalloc's own handlers, which take every
 * lock of every arena and so copy all their pages, are left out of its build, and so is its
 * list of threads, off which a thread takes itself when it ends, at a time of its own.
 *
 * Order: after the quiesce lock, before the registry of caches. Inside, nothing is
 * waited for but the purge's lock and, in extent hooks, a slab set's. A thread may
 * enter again where it is inside: jemalloc's libc calls can come back as a malloc.
 */

#include <stdbool.h>

/* Whether the calling thread is inside. */
bool rdm_gate_is_inside(void);

void rdm_gate_enter(void);
void rdm_gate_leave(void);

/* Also of use in a signal handler that has interrupted jemalloc: one's own call is not waited for. */
void rdm_gate_prefork(void);
void rdm_gate_postfork_parent(void);
void rdm_gate_postfork_child(void);

#endif
