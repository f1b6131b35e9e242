/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SNAPSHOT_H
#define RDM_SNAPSHOT_H

/*
 * What a child finds in its pools. For the copy policy, prefork copies the live
 * blocks of each slab into a shadow of the same layout, which the child moves
 * over the hole; pages without live blocks cost nothing and read as zeros.
 *
 * Called by fork.c with the set's lock held. Nothing here allocates from a heap.
 */

#include "slab/slab.h"

/* As operations of a set. */
void rdm_snapshot_prefork(struct rdm_slab_set *set);
void rdm_snapshot_copy_live(const struct rdm_slab *slab, char *shadow);
void rdm_snapshot_postfork_parent(struct rdm_slab_set *set);
/* After the reserve has been mapped again. */
void rdm_snapshot_postfork_child(struct rdm_slab_set *set);

/*
 * For kinds of memory that choose otherwise what is copied. Of so many bytes, a slab's shadow,
 * or an empty one; false: no memory.
 */
void rdm_snapshot_take(struct rdm_slab *slab, size_t bytes);
bool rdm_snapshot_make_shadow(struct rdm_slab *slab, size_t bytes);
void rdm_snapshot_drop(struct rdm_slab *slab);
/* Other threads may write to it meanwhile, as they may while the kernel forks. */
void rdm_snapshot_copy(char *to, const char *from, size_t length);
/* What programs have registered of their own (pool/foreign.h), in the way of its pool. */
void rdm_snapshot_prefork_foreign(void);
void rdm_snapshot_postfork_parent_foreign(void);
void rdm_snapshot_postfork_child_foreign(void);
/* The hole, whatever a failed placement has left there; a line says so. */
void rdm_snapshot_place_hole(char *base, size_t length);

#endif
