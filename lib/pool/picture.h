/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PICTURE_H
#define RDM_PICTURE_H

/*
 * A picture of all pools, as publish_layout.h describes it. Pools change while it is drawn: it takes
 * the quiesce lock for a millisecond or one slab at a time, and a set's lock for one granule, so
 * that nobody waits for long. Exact while nobody allocates. It allocates nothing.
 */

#include "pool/publish_layout.h"

struct rdm_picture {
	struct rdm_page_header header;
	struct rdm_page_pool pools[RDM_PAGE_POOLS];
	struct rdm_page_slab slabs[RDM_PAGE_SLABS];
	struct rdm_page_cell cells[RDM_PAGE_CELLS];
};

/* Called without locks. Of the header it fills what counts things. */
void rdm_picture_draw(struct rdm_picture *picture);

#endif
