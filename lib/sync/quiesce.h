/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_QUIESCE_H
#define RDM_QUIESCE_H

/*
 * The outer lock. Whoever makes, registers, deregisters or releases slabs, or
 * changes the list of pools, is inside; fork() waits until nobody is, so that
 * no lock of a registrar is ever left held in the child. Code inside may call
 * malloc, jemalloc and registrars. Taken with no other lock held.
 * Who leaves and enters again lets those go first who wait.
 */

#include <stdbool.h>

/*
 * Waits, for others that are inside and for forks. False when this thread is inside already, that
 * is, when a registrar has called back: one line names the caller and errno is EDEADLK; and in a
 * child whose gate is shut: ENOTRECOVERABLE.
 */
bool rdm_quiesce_enter(const char *caller);
/* As enter, but does not wait for a fork: false with EAGAIN, and no line. */
bool rdm_quiesce_enter_unless_forking(const char *caller);
/* Returns 0, or -1 with errno set when error is not 0. */
int rdm_quiesce_leave(int error);

/* A thread that works for one that is inside, which waits for its end: it is inside, too. */
void rdm_quiesce_help(void);

bool rdm_quiesce_is_inside(void);

/* For assertions: whether it is held for the calling thread, by itself, by whom it helps, or by fork(). */
bool rdm_quiesce_is_held(void);

/*
 * For fork handlers: as with the gate (gate.h), nobody comes in after close. Whether anybody but
 * the caller is inside still.
 */
void rdm_quiesce_close(void);
bool rdm_quiesce_is_empty(void);
void rdm_quiesce_open(void);
void rdm_quiesce_postfork_child(void);

#endif
