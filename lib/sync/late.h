/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LATE_H
#define RDM_LATE_H

/*
 * What came to the closed gate to be put away (gate.h), and is put away later: free blocks,
 * our own records, threads' parts that have ended. Takes no lock, allocates nothing but
 * pages from the kernel, and may be called by any thread at any time, by a signal handler, too.
 *
 * A child has its own copy of the list, and puts away what is in it, too. An entry that was
 * about to be made is lost there.
 */

#include <stdatomic.h>
#include <stdbool.h>

enum rdm_late_kind {
	RDM_LATE_BLOCK,  /* of a slab; `state` is what it was */
	RDM_LATE_RECORD, /* of meta.h */
	RDM_LATE_THREAD, /* of caches.c */
};

/* An address that is a multiple of 16. */
struct rdm_late {
	void *what;
	enum rdm_late_kind kind;
	unsigned state;
};

/* What cannot be noted down, for want of memory, is lost to this process, and a line says so. */
void rdm_late_put(void *what, enum rdm_late_kind kind, unsigned state);

/* Whether there is anything. */
extern _Atomic unsigned rdm_late_count __attribute__((visibility("hidden")));

static inline bool rdm_late_any(void)
{
	return __builtin_expect(atomic_load_explicit(&rdm_late_count, memory_order_relaxed) != 0,
				0);
}

/* In a child: whoever was about to put something there is gone, as are the threads. */
void rdm_late_postfork_child(void);

/* Takes one off the list; false: it is empty. */
bool rdm_late_take(struct rdm_late *late);

#endif
