/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STACKS_H
#define RDM_STACKS_H

/*
 * Threads' stacks that are blocks of plain memory, and those of them that a fork spares: near
 * these addresses the child's C library runs before our handlers do, so that they cannot be holes.
 *
 * Called by pins.c, under the pins' lock where nothing else is said.
 */

#include <stdbool.h>
#include <stddef.h>

struct rdm_stack;

/* With no lock: a record of the stack that ends there. NULL with a line: no memory. */
struct rdm_stack *rdm_stacks_make(char *end);
void rdm_stacks_add(struct rdm_stack *stack);
/* Those that end in a block, as a list, for rdm_stacks_free(), which is called with no lock. */
struct rdm_stack *rdm_stacks_take(const void *block, size_t length);
void rdm_stacks_free(struct rdm_stack *list);
/* Takes no lock: whether there are any. */
bool rdm_stacks_any(void);
/* Calls with the last byte of each. */
void rdm_stacks_for_each(void (*call)(const void *stack));

/* Where glibc and our own handlers run, below and above a stack pointer. */
#define RDM_SPARED_BYTES ((size_t)64 << 10)

/* Before a fork, by it alone: pages near that address are spared; none is. */
void rdm_stacks_spare_at(const void *stack);
void rdm_stacks_spare_none(void);
bool rdm_stacks_are_spared(void);
/* Whether this fork spares the page. */
bool rdm_stacks_spare(const char *page);

#endif
