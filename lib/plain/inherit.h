/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_INHERIT_H
#define RDM_INHERIT_H

/*
 * How a child inherits plain memory: by copy-on-write, but for pages that are registered,
 * which are holes in it until copies of what is live there are moved in.
 *
 * Called around fork() with the locks of the set and of the pins held. Nothing allocates.
 */

#include "slab/slab.h"

void rdm_inherit_prefork(struct rdm_slab_set *set);
void rdm_inherit_postfork_parent(struct rdm_slab_set *set);
void rdm_inherit_postfork_child(struct rdm_slab_set *set);

/* Live blocks, or what of them children do not inherit, as far as it is there: a look would make it. */
void rdm_inherit_copy_all(const struct rdm_slab *slab, char *shadow);
void rdm_inherit_copy_pinned(const struct rdm_slab *slab, char *shadow);

#endif
