/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_POOL_H
#define RDM_POOL_H

/*
 * Pools: their life, their rails, their growth. A pool owns one set of slabs
 * and one arena; the list of pools belongs to the quiesce lock. Blocks are
 * malloc.c's business, which calls rdm_pool_grow when the arena has no room.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/arena.h"
#include "heap/depot.h"
#include "heap/magazine.h"
#include "rdmalloc.h"
#include "slab/slab.h"

#define RDM_POOL_NAME_BYTES 32

struct rdm_pool {
	_Atomic uint64_t magic;
	struct rdm_pool *next;
	char name[RDM_POOL_NAME_BYTES];
	size_t slab_size;
	size_t limit;
	struct rdm_slab_set slabs;
	struct rdm_arena arena;
	struct rdm_depot depot;
	struct rdm_caches caches;    /* of its threads; magazine.c's */
	unsigned slot;               /* no other pool has this number */
	_Atomic unsigned generation; /* goes up when there is new room */
	unsigned regions;            /* goes up when slabs come and go; under the quiesce lock */
	_Atomic bool inherited;
	uint64_t background_growths; /* slabs made ahead of need; under the quiesce lock */
	bool complained; /* that it cannot grow, since it last did; under the quiesce lock */
	struct {
		uint64_t time_ns; /* 0: there was none */
		size_t pages, violations;
	} audited; /* what the last audit said; under the quiesce lock */
};

/* Whether it is a pool. If not, one line says so and errno is EINVAL. */
bool rdm_pool_check(const struct rdm_pool *pool, const char *caller);

/* The value to give rdm_pool_grow, read before the allocation that failed. */
static inline unsigned rdm_pool_generation(const struct rdm_pool *pool)
{
	return atomic_load_explicit(&pool->generation, memory_order_acquire);
}

/*
 * Makes room for `want`, unless somebody did since `generation`: then the
 * caller just tries again, as the next attempt (from 0). 0, or -1 with errno.
 */
int rdm_pool_grow(struct rdm_pool *pool, const struct rdm_want *want, unsigned generation,
		  unsigned attempt);

/*
 * The process's one pool of plain memory, see prepare.h, made by the first call.
 * RDM_FORK_DEFAULT: it is heritable. NULL with errno.
 */
struct rdm_pool *rdm_pool_create_plain(const char *name, enum rdm_fork_policy fork);

/* Calls for every pool; under the quiesce lock. */
void rdm_pools_for_each(void (*call)(struct rdm_pool *pool));
/* The first one. */
struct rdm_pool *rdm_pools(void);

#endif
