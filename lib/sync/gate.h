/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_GATE_H
#define RDM_GATE_H

/*
 * The way into the heaps: jemalloc, the depots, the registry of caches. Whatever is changed
 * there is changed between enter and leave. fork() closes the gate and waits until nobody is
 * inside, so that a child has heaps with no lock held and nothing half done. jemalloc's own
 * handlers, which take every lock of every arena and so copy all their pages, are left out of
 * its build, and so is its list of threads, off which a thread takes itself when it ends, at a
 * time of its own.
 *
 * Nobody waits for a fork inside, and fork() waits for locks of the C library while the gate is
 * closed. Who comes to the closed gate may hold one of these. So in the preload nobody waits there
 * for more than a moment: who wants memory gets it elsewhere then, and what is freed is noted down
 * at once (late.h).
 * In the linked library, which has no other memory to give, rdm_gate_enter() waits.
 *
 * Order: after the quiesce lock. Inside, nothing is waited for but locks that are taken inside
 * only. A thread may enter again where it is inside: jemalloc's libc calls can come back as a
 * malloc.
 */

#include <stdbool.h>

/* Whether the calling thread is inside. */
bool rdm_gate_is_inside(void);

/* False: it is closed, and there is nothing to leave. */
bool rdm_gate_try(void);
/* As try, but the linked library waits; false only where the gate is shut. */
bool rdm_gate_enter(void);
void rdm_gate_leave(void);

/* Of a thread that is inside the quiesce lock: fork() waits for it, so that it need not for fork(). */
void rdm_gate_let_pass(bool let);

/*
 * For fork handlers, which may be under way in several threads, and more than once in one. A
 * closed gate is open again after as many opens. Whether anybody but the caller is inside.
 */
void rdm_gate_close(void);
bool rdm_gate_is_empty(void);
void rdm_gate_open(void);

/*
 * In the child: it is open, with the caller alone. Not empty: somebody who is gone was inside.
 * The gate is shut for good, there and in its children: what is inside cannot be used any more.
 */
void rdm_gate_postfork_child(bool was_empty);
bool rdm_gate_is_shut(void);

/* For who did not come in: whether it is closed and will open, and how often it was closed so far. */
bool rdm_gate_is_closed(void);
unsigned rdm_gate_closings(void);

#endif
