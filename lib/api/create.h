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

/*
 * The process's one pool of plain memory, see prepare.h, made by the first call.
 * RDM_FORK_DEFAULT: it is heritable. NULL with errno.
 */
struct rdm_pool *rdm_pool_create_plain(const char *name, enum rdm_fork_policy fork);

#endif
