/* SPDX-License-Identifier: BSD-2-Clause */
/* A program of others that reads statistics pages by the names that were theirs when it was written. */
#include <publish_layout.h>

#include "support.h"

#include <string.h>

struct stranger {
	struct rdm_page_header header;
	struct rdm_page_pool pools[RDM_PAGE_POOLS];
	struct rdm_page_slab slabs[RDM_PAGE_SLABS];
	struct rdm_page_cell cells[RDM_PAGE_CELLS];
};

int main(void)
{
	static struct stranger page = {
		.header = { .magic = RDM_PAGE_MAGIC, .version = RDM_PAGE_VERSION },
	};
	enum rdm_page_flags flags = RDM_PAGE_PRELOAD;
	enum rdm_page_pool_flags kind = RDM_PAGE_POOL_PLAIN | RDM_PAGE_POOL_HERITABLE;

	page.header.flags = flags;
	page.pools[0].flags = kind | RDM_PAGE_POOL_INHERITED;
	T_CHECK(page.header.magic == RDM_PAGE_MAGIC && !strcmp(RDM_PAGE_NAME, "rdmalloc-stats"));
	T_CHECK(sizeof(page.pools[0].rail_names) / sizeof(page.pools[0].rail_names[0]) ==
		RDM_PAGE_RAILS);
	return T_PASS;
}
