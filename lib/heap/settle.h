/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SETTLE_H
#define RDM_SETTLE_H

/*
 * Puts away what came while the gate was closed (late.h). Inside the gate, with no lock; by
 * whoever opens it or comes in next.
 */

void rdm_settle(void);

#endif
