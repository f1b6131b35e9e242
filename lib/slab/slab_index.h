/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SLAB_INDEX_H
#define RDM_SLAB_INDEX_H

/*
 * Where the slabs of a set are, by granule of the reserve: which granules start
 * a slab, which of them an idle one, and what each has to offer: a number of
 * pages that no free run of the slab exceeds. The offers are the leaves of a
 * tree in which each node has the larger of its two children's, so the first
 * slab that may have a run of n pages is found without a look at those that
 * have not.
 *
 * The caller holds the set's lock, except to make one and to free it.
 */

#include <stddef.h>
#include <stdint.h>

struct rdm_slab_index {
	size_t granules;      /* covered: a power of two, or 0 */
	uint32_t *most;       /* the tree: node 1 is the root, the leaves start at `granules` */
	unsigned long *slabs; /* a bit for each granule that starts a slab */
	unsigned long *idle;  /* and for each that trim should look at */
};

/* An empty one that covers granules 0 to `last`. 0 or an errno value. */
int rdm_slab_index_make(struct rdm_slab_index *index, size_t last);
void rdm_slab_index_free(struct rdm_slab_index *index);

/* Moves everything into `wider`, and leaves in `wider` what is to be freed. */
void rdm_slab_index_widen(struct rdm_slab_index *index, struct rdm_slab_index *wider);

/* Says what the slab at a granule offers; 0: nothing. */
void rdm_slab_index_offer(struct rdm_slab_index *index, size_t granule, size_t pages);

static inline size_t rdm_slab_index_offered(const struct rdm_slab_index *index, size_t granule)
{
	return index->most[index->granules + granule];
}

/* First granule at or after `from` whose slab offers `pages`; RDM_BITS_NONE if none does. */
size_t rdm_slab_index_find(const struct rdm_slab_index *index, size_t from, size_t pages);

#endif
