/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PINS_H
#define RDM_PINS_H

/*
 * What a program has registered itself: a record for each registration, and in slabs
 * of plain memory (plain.h) a count for each page. Such pages are MADV_DONTFORK and
 * have been written since, they are never discarded, and children get copies of what is live
 * in them (inherit.c).
 *
 * Called by the preload's wrappers and discard.c with no lock held, by plain.c and inherit.c
 * under a set's lock, and as fork.c's guest. One lock, a leaf: nothing under it allocates.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slab/slab.h"

struct rdm_pin;

/*
 * Somebody is about to register these bytes of any memory: takes those that are in
 * plain slabs out of the fork, then makes every page present, written and ours alone.
 * NULL with errno ENOMEM and a log line.
 */
struct rdm_pin *rdm_pins_add(void *addr, size_t length);
/* It is registered, and this is what the registration will be ended with. */
void rdm_pins_name(struct rdm_pin *pin, const void *handle);
/* The record of a registration of this process, which has no name any more, or NULL. */
struct rdm_pin *rdm_pins_take(const void *handle);
/* The registration has ended, or never began. */
void rdm_pins_drop(struct rdm_pin *pin);

/* Ranges without a handle, which are dropped as often as they are added. 0, or -1 with errno. */
int rdm_pins_add_range(void *addr, size_t length);
void rdm_pins_drop_range(void *addr, size_t length);

/* Whether a page of the range, all in plain slabs, is pinned. */
bool rdm_pins_any(const void *addr, size_t length);

/*
 * Whether pages are pinned of which nobody told us. Reads /proc: in the gate or under the
 * quiesce lock, so that no child gets the descriptor.
 */
bool rdm_pins_unseen(void);

/* Discards the pages of a run, in one plain slab, that are not pinned. False: some are, or are locked. */
bool rdm_pins_discard(void *addr, size_t length);

/*
 * While fork() runs: the first bytes of a slab, between two addresses, on pages that children
 * do not inherit. False: there are none.
 */
bool rdm_pins_next(const struct rdm_slab *slab, char *from, char *end, char **run, size_t *length);

struct rdm_pin_counts {
	size_t inside, inside_bytes;   /* registrations of slabs' memory so far */
	size_t outside, outside_bytes; /* of any other */
	size_t pages;                  /* registered now, in all */
	size_t unseen;                 /* forks with pins that nobody told us of */
};
void rdm_pins_count(struct rdm_pin_counts *out);

/* Whether anything is registered at this moment; takes no lock. */
bool rdm_pins_exist(void);

/*
 * A thread's stack in a block: the child's C library looks at it before our handlers run, so
 * that its upper end cannot be a hole. Until the block is freed.
 */
void rdm_pins_note_stack(void *addr, size_t length);
/* By the thread on the stack that ends there: from `own` on there is nothing of the program. */
void rdm_pins_name_own(const char *own, const char *end);
/* Those in a block are none any more. */
void rdm_pins_forget_stacks(void *block, size_t length);

/* Before fork(): the child's C library will be there before our handlers are. */
void rdm_pins_spare(const char *from, const char *end);

/*
 * fork.c's guest (fork.h), and of each heritable set: takes its pinned pages out of this fork, and
 * in again. first: no other fork is ready.
 */
bool rdm_pins_try_for_fork(void);
void rdm_pins_unlock_for_fork(void);
void rdm_pins_prefork(const void *stack, bool first);
void rdm_pins_prefork_set(struct rdm_slab_set *set);
void rdm_pins_postfork_parent_set(struct rdm_slab_set *set);
void rdm_pins_postfork_child_set(struct rdm_slab_set *set);
void rdm_pins_postfork_child(void);

#endif
