/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STACKS_H
#define RDM_STACKS_H

/*
 * Threads' stacks that are blocks of plain memory, and those pages of them that a fork spares: the
 * child's C library uses them before our handlers run, so that they cannot be holes. Where a
 * kernel copies by the map count the parent loses what a device writes there: they are to be no
 * more than they must, and none that hold what is the program's own.
 *
 * Called by pins.c, under the pins' lock where nothing else is said.
 */

#include <stdbool.h>
#include <stddef.h>

struct rdm_stack;

/* With no lock: a record of the stack that ends there. NULL with a line: no memory. */
struct rdm_stack *rdm_stacks_make(char *end);
void rdm_stacks_add(struct rdm_stack *stack);
/* What is from there to its end is the C library's. Until then it is RDM_STACK_ENDS_MAX bytes. */
void rdm_stacks_set_own(const char *own, const char *end);
/* Those that end in a block, as a list, for rdm_stacks_free(), which is called with no lock. */
struct rdm_stack *rdm_stacks_take(const void *block, size_t length);
void rdm_stacks_free(struct rdm_stack *list);
/* Takes no lock: whether there are any. */
bool rdm_stacks_any(void);
/* Calls with what is the C library's of each. */
void rdm_stacks_for_each(void (*call)(const char *from, const char *end));

/* Of a thread: its record, and what else the C library has above its first frame. */
#define RDM_STACK_ENDS_MAX ((size_t)64 << 10)
/* Where glibc and our own handlers run, below a stack pointer, and above it if nobody says how far. */
#define RDM_STACK_BELOW ((size_t)16 << 10)
#define RDM_STACK_ABOVE ((size_t)8 << 10)

/*
 * Of the calling thread, with no lock: what is from there on of its stack is nobody's who forks, so
 * that above a stack pointer less is spared. NULL: it is not known.
 */
void rdm_stacks_set_caller(const char *caller);
const char *rdm_stacks_above(const char *stack);

/* Before a fork, by it alone: the pages of a range are spared; none is. */
void rdm_stacks_spare_range(const char *from, const char *end);
void rdm_stacks_spare_none(void);
bool rdm_stacks_are_spared(void);
/* Whether this fork spares the page. */
bool rdm_stacks_spare(const char *page);

#endif
