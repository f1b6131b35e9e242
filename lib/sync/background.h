/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_BACKGROUND_H
#define RDM_BACKGROUND_H

/*
 * One thread of the process that sleeps, and when it is woken works under the
 * quiesce lock like any other that grows a pool: fork() waits for a step of its
 * work, and it holds nothing while it sleeps. No signal is ever delivered to it.
 * exit() waits for the step under way and lets no other begin, as what the work
 * needs of the program may be gone soon. A child has no such thread until it
 * starts its own.
 */

#include <stdbool.h>

/*
 * Under the quiesce lock: starts the thread unless it is there. It repeats work
 * as long as that returns true, each time with the quiesce lock anew. If no thread
 * can be had one line says so, and the next call tries again.
 */
void rdm_background_start(bool (*work)(void));

/* Takes no lock and allocates nothing. Nothing is lost if there is no thread yet. */
void rdm_background_wake(void);

/* There is no thread: when the library is loaded, and in a child, whose parent had one. */
void rdm_background_open(void);

#endif
