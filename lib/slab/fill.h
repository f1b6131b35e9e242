/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FILL_H
#define RDM_FILL_H

/*
 * Slabs that are mapped become slabs that are written and registered with each
 * rail of their set: by the calling thread, and where it is worth it by workers,
 * which populate, and register with other rails meanwhile. One rail's slabs are
 * registered one after the other, in the order of the array.
 *
 * Called by slab.c under the quiesce lock; nobody else knows the slabs yet.
 */

#include <stddef.h>

#include "slab/slab.h"

/*
 * All of the same length. 0, or errno with a log line of what failed first.
 * The first *complete slabs are ready, the others are to be released.
 */
int rdm_fill(struct rdm_slab_set *set, struct rdm_slab *const slab[], size_t count,
	     size_t *complete);

#endif
