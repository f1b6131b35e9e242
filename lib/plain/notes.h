/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_NOTES_H
#define RDM_NOTES_H

/*
 * What a program does to the pages of its own blocks, with madvise(), mprotect(), mlock() and
 * their like, ends with the block: the next owner finds pages as new. A note is a kind of such a
 * thing, for a page of plain memory (plain.h); free() asks for the notes of its block, and undoes
 * what they say. Pages that several blocks share are settled when the last of them is gone.
 *
 * Notes are taken in signal handlers, too: no lock, and nothing but system calls. Settling
 * enters the gate, so that no fork of ours runs meanwhile.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slab/slab.h"

enum {
	RDM_NOTE_FORK = 1 << 0,       /* children do not inherit it */
	RDM_NOTE_WIPE = 1 << 1,       /* children find zeros */
	RDM_NOTE_ADVICE = 1 << 2,     /* about merging, dumps, the order of access */
	RDM_NOTE_PROTECTION = 1 << 3, /* something else than to be read and written */
	RDM_NOTE_LOCK = 1 << 4,
	RDM_NOTE_HUGE = 1 << 5,  /* huge pages: only a new mapping is without such advice */
	RDM_NOTE_OTHER = 1 << 6, /* policies, keys, names, and what is not known here */
};

extern unsigned rdm_notes_taken __attribute__((visibility("hidden")));

/* Whether there has been any note. */
static inline bool rdm_notes_any(void)
{
	return __atomic_load_n(&rdm_notes_taken, __ATOMIC_RELAXED);
}

/* Before it is done to any memory. False, with errno: it cannot be noted, so it must not be done. */
bool rdm_notes_add(const void *addr, size_t length, unsigned kinds);
/* It has been undone. */
void rdm_notes_end(const void *addr, size_t length, unsigned kinds);

/*
 * A block that is to be freed: its pages become as new. False: they cannot be now, so it
 * must not be freed. It waits until rdm_notes_waited() gives it back to be freed, after a
 * registration has ended, or when a limit allows it.
 */
bool rdm_notes_settle(void *block, size_t usable);
void *rdm_notes_waited(void);

/* Whether a block has notes: who moves it copies its bytes, which can be read after rdm_notes_open(). */
bool rdm_notes_in(void *block, size_t usable);
void rdm_notes_open(void *block, size_t usable);

/* Whole pages of runs of which no block is left, inside the gate: as new, as far as can be. */
void rdm_notes_settle_runs(const struct rdm_run *run, size_t count);

/* The slab goes. */
void rdm_notes_forget(struct rdm_slab *slab);

#endif
