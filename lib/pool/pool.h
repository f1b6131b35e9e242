/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_POOL_H
#define RDM_POOL_H

/*
 * What a pool is, and which there are. A pool owns one set of slabs and one arena.
 * The list belongs to the quiesce lock; fork handlers, which hold it, read it, too.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heap/heap.h"
#include "rdmalloc.h"
#include "slab/slab.h"

#define RDM_POOL_NAME_BYTES 32

/* Of a pool that spills (rdm_slab_ops): how many requests need not look whether it can grow. */
struct rdm_rest {
	_Atomic unsigned left;
	_Atomic size_t carved; /* bytes, when it began */
	unsigned next;         /* how many after the next vain try; under the quiesce lock */
};

struct rdm_pool {
	struct rdm_heap heap; /* first: a heap's address is its pool's */
	_Atomic uint64_t magic;
	struct rdm_pool *next;
	char name[RDM_POOL_NAME_BYTES];
	size_t slab_size;
	size_t slab_least; /* not 0: slabs are as long as all before, from this to slab_size */
	size_t limit;
	struct rdm_slab_set slabs;
	_Atomic unsigned generation; /* goes up when there is new room */
	unsigned regions;            /* goes up when slabs come and go; under the quiesce lock */
	uint64_t background_growths; /* slabs made ahead of need; under the quiesce lock */
	struct rdm_rest rest;
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

/* A pool that is ready is one of the process's; one that ends is none any more. */
void rdm_pools_add(struct rdm_pool *pool);
void rdm_pools_remove(struct rdm_pool *pool);

/* Calls for every pool; under the quiesce lock. */
void rdm_pools_for_each(void (*call)(struct rdm_pool *pool));
/* The first one. */
struct rdm_pool *rdm_pools(void);

#endif
