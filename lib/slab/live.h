/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LIVE_H
#define RDM_LIVE_H

/*
 * Which blocks of a set's slabs are live: the carved pages, looked up in the
 * state map. For snapshots, statistics and goodbyes, not for hot paths. The
 * caller holds the set's lock.
 */

#include <stddef.h>

#include "slab/slab.h"

/* The first live block at or after `from`, and its size; NULL if there is none. */
char *rdm_live_next(const struct rdm_slab *slab, char *from, size_t *size);

/* Live blocks of a slab, and their bytes. */
size_t rdm_live_count(const struct rdm_slab *slab, size_t *bytes);

/* The same of the whole set; takes its lock itself. */
size_t rdm_live_total(struct rdm_slab_set *set, size_t *bytes);

/* Of blocks with that many bytes or more. */
size_t rdm_live_larger(struct rdm_slab_set *set, size_t least, size_t *bytes);

/* Those at or after an address, in its order: how many, up to `max`. Takes the set's lock itself. */
struct rdm_live_block {
	char *at;
	size_t size;
};
size_t rdm_live_from(struct rdm_slab_set *set, const char *from, struct rdm_live_block out[],
		     size_t max);

/* Ends every block of the set. */
void rdm_live_forget(const struct rdm_slab_set *set);

#endif
