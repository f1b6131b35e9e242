/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PICTURE_H
#define RDM_PICTURE_H

/*
 * A picture of all pools, as picture_layout.h describes it. Pools change while it is drawn: it takes
 * the quiesce lock for a millisecond or one slab at a time, and a set's lock for one granule, so
 * that nobody waits for long. Exact while nobody allocates. It allocates nothing.
 */

#include "pool/picture_layout.h"

struct rdm_picture {
	struct rdm_picture_header header;
	struct rdm_picture_pool pools[RDM_PICTURE_POOLS];
	struct rdm_picture_slab slabs[RDM_PICTURE_SLABS];
	struct rdm_picture_cell cells[RDM_PICTURE_CELLS];
};

/* Called without locks. Of the header it fills what counts things. */
void rdm_picture_draw(struct rdm_picture *picture);

#endif
