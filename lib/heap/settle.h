/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SETTLE_H
#define RDM_SETTLE_H

/*
 * Puts away what came while the gate was closed (late.h). Inside the gate, with no lock; by
 * whoever opens it or comes in next.
 */

void rdm_settle(void);

/*
 * Outside the gate, under the quiesce lock: whatever came late before the call is put away when it
 * returns, also what another thread was about to.
 */
void rdm_settle_all(void);

#endif
