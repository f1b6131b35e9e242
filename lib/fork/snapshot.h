/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SNAPSHOT_H
#define RDM_SNAPSHOT_H

/*
 * What a child finds in its pools. For the copy policy, prefork copies the live
 * blocks of each slab into a shadow of the same layout, which the child moves
 * over the hole; pages without live blocks cost nothing and read as zeros. In heritable
 * sets that is done with the pinned pages, and the others are there.
 *
 * Called by fork.c with the set's lock held. Nothing here allocates from a heap.
 */

#include "slab/slab.h"

void rdm_snapshot_prefork(struct rdm_slab_set *set);
void rdm_snapshot_postfork_parent(struct rdm_slab_set *set);
/* After the reserve has been mapped again. */
void rdm_snapshot_postfork_child(struct rdm_slab_set *set);

#endif
