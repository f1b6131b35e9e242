/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PLAIN_H
#define RDM_PLAIN_H

/*
 * Plain memory, which the preload serves malloc from: ordinary private memory in slabs without
 * rails. Programs register in it what they like (pins.h). This is where its modules become the
 * operations of a set (slab.h); there is one such pool in a process, and no other.
 */

#include "pool/pool.h"
#include "rdmalloc.h"

/*
 * The process's one pool, made by the first call, with no lock held. RDM_FORK_DEFAULT:
 * children inherit all that is not registered, and go on with it. NULL with errno.
 */
struct rdm_pool *rdm_plain_pool(const char *name, enum rdm_fork_policy fork);

#endif
