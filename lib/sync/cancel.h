/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CANCEL_H
#define RDM_CANCEL_H

/*
 * pthread_cancel(). A thread that ended with a lock of ours would leave it locked, and everybody
 * would wait for it. So from before it takes its first lock, or enters the gate, until it has
 * let the last one go, a thread cannot be cancelled, neither at a cancellation point of what is
 * called meanwhile (a registrar, /proc, a condition) nor at any instruction, which is the
 * asynchronous type. What was asked for meanwhile happens afterwards. Locks and gate do this
 * themselves; others where things are moved from hand to hand without a lock.
 */

/* These nest. errno survives. */
void rdm_cancel_off(void);
void rdm_cancel_on(void);

#endif
