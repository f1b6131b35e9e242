/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_HEAP_H
#define RDM_HEAP_H

/*
 * What a pool's blocks come from and go to: caches of its threads, a depot, an arena. Which
 * pool it is nobody down here knows.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/arena.h"
#include "heap/cache.h"
#include "heap/depot.h"

struct rdm_heap {
	/* No other heap has this number. All read it, in a line that is not written to: arena begins so. */
	unsigned slot;
	struct rdm_arena arena;
	struct rdm_depot depot;
	struct rdm_caches caches; /* of its threads; caches.c's */
	_Atomic uint32_t looked;  /* for threads that sleep; ms */
	_Atomic bool inherited;   /* in a child, of a pool that does not go on there */
	size_t kept_max;          /* bytes: larger free blocks are for the arena at once */
	bool returns;             /* the kernel gets memory back that is free */
};

/* Where a thread that used the heap last finds its cache: any number there is one of a place. */
static inline size_t rdm_heap_place(const struct rdm_heap *heap)
{
#if RDM_TLS_PLACES == 1
	(void)heap;
	return 0;
#else
	return heap->slot % RDM_TLS_PLACES;
#endif
}

#endif
