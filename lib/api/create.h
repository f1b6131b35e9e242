/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CREATE_H
#define RDM_CREATE_H

/*
 * The life of pools: what they are made from, and how they end. All of it happens under the
 * quiesce lock.
 */

#include "pool/pool.h"

/* In a child: blocks may come from the pool again, which has slabs of its own from now on. */
void rdm_pool_end_inheritance(struct rdm_pool *pool);

/* How sets of memory that is registered slab by slab do things. */
extern const struct rdm_slab_ops rdm_registered_ops __attribute__((visibility("hidden")));

/* A record to be filled in; NULL: no memory, a line says so. */
struct rdm_pool *rdm_pool_new(void);
/*
 * Makes a pool of what is filled in: name, slab_size, limit, heap.kept_max, and of its slabs the
 * ops, the kind, the policy, the watermark. 0 or an errno value with a log line.
 */
int rdm_pool_open(struct rdm_pool *pool);

#endif
