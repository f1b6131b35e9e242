/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LOCKED_H
#define RDM_LOCKED_H

/*
 * Whether the program has asked for all its memory to be locked from now on
 * (mlockall(MCL_FUTURE)): the kernel then makes every page of what is mapped, wanted or not. What
 * the library maps ahead of need is locked page by page, when it is touched. No lock.
 */

#include <stdbool.h>
#include <stddef.h>

void rdm_locked_note(bool future);
bool rdm_locked_future(void);

/* To be called of memory that nobody can touch yet (PROT_NONE): before it can be, in such a program. */
void rdm_locked_on_fault(void *addr, size_t length);

#endif
