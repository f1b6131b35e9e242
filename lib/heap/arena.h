/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_ARENA_H
#define RDM_ARENA_H

/*
 * A heap's jemalloc arena. jemalloc does size classes, runs and extents; its
 * hooks only carve from slabs that are ready, so nothing is registered, and no
 * registrar's malloc can come back, under jemalloc's locks. When no slab has
 * room the allocation fails and says what it wanted: the pool grows, outside,
 * and asks again.
 *
 * alloc, resize and free may be called by any thread; the others under the quiesce
 * lock. Each enters the gate. Where it is closed, alloc fails and free does not wait (late.h).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include <jemalloc/jemalloc.h>

#include "slab/slab.h"

struct rdm_arena {
	extent_hooks_t hooks;
	struct rdm_slab_set *slabs;
	unsigned index;
	size_t purge[3];    /* jemalloc's number for that */
	_Atomic bool stale; /* jemalloc has runs that are wanted back */
};

/* What a slab would have to offer for the allocation to succeed. */
struct rdm_want {
	size_t size; /* 0: more slabs would not help */
	size_t align;
	bool elsewhere; /* the gate is closed: it must come from another malloc */
};

/* 0 or an errno value. */
int rdm_arena_init(struct rdm_arena *arena, struct rdm_slab_set *slabs);
/* Blocks that still live are forgotten. */
void rdm_arena_destroy(struct rdm_arena *arena);

/*
 * A block and its state (class and flags), which the caller records. NULL:
 * see *want.
 */
void *rdm_arena_alloc(struct rdm_arena *arena, size_t size, size_t align, unsigned *state,
		      struct rdm_want *want);
/* Makes a block that is not direct another class where it is. False when it cannot. */
bool rdm_arena_resize(void *block, unsigned class);
void rdm_arena_free(void *block, unsigned state);
/*
 * Frees blocks of a class that nobody will want soon, and their runs go back to their
 * slabs, unless another thread is at it: jemalloc would hand them out again by age, while
 * slabs are filled from the lowest address.
 */
void rdm_arena_free_many(struct rdm_arena *arena, unsigned class, void *const *blocks,
			 size_t count);
/* Inside the gate: frees blocks of a class of which there are too many, and then their runs go back. */
void rdm_arena_free_batch(struct rdm_arena *arena, unsigned class, void *const *blocks,
			  size_t count);

/* Forgets every block. */
void rdm_arena_reset(struct rdm_arena *arena);
/* Returns everything that jemalloc caches to the slabs. */
void rdm_arena_purge(struct rdm_arena *arena);
/* The same, and of these the kernel gets back what it can. */
void rdm_arena_cool(struct rdm_arena *arena);

#endif
