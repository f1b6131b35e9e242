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
	struct rdm_arena arena;
	struct rdm_depot depot;
	struct rdm_caches caches; /* of its threads; caches.c's */
	_Atomic uint32_t looked;  /* for threads that sleep; ms */
	unsigned slot;            /* no other heap has this number */
	_Atomic bool inherited;   /* in a child, of a pool that does not go on there */
	size_t kept_max;          /* bytes: larger free blocks are for the arena at once */
	bool returns;             /* the kernel gets memory back that is free */
};

#endif
