/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_BARE_FORK_H
#define RDM_BARE_FORK_H

#include <stdbool.h>

/*
 * Around what makes a process as fork() does, but calls no handlers: only what programs registered
 * is looked after, without waiting for a lock that this thread may hold, for it may be
 * in a signal handler. False: there is nothing to be done, and nothing afterwards.
 */
bool rdm_bare_fork_prefork(const void *stack);
void rdm_bare_fork_postfork(bool child);

#endif
