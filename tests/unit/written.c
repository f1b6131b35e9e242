/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page that the caller has never touched is ready for a device: who takes a
 * reference to it sees what the CPU writes afterwards.
 */
#include "support.h"

static void untouched(unsigned pages)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	size_t size = 3 * T_SLAB, step = T_SLAB / 8 + t_page();
	unsigned char *block, seen;
	struct t_pin pin;
	rdm_pool *pool;

	config.pages = pages;
	config.backing = RDM_BACKING_ANON;
	pool = rdm_pool_create(&config);
	T_CHECK(pool);
	block = t_malloc(pool, size);
	for (size_t at = 0; at < size; at += step) {
		t_pin_take(&pin, block + at, 1);
		block[at] = 2;
		t_pin_read(&pin, &seen);
		T_CHECKF(seen == 2, "page %zu was not written before it was pinned", at / t_page());
	}
	T_CHECK(!t_audit(pool));
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
}

int main(void)
{
	untouched(RDM_PAGES_BASE);
	untouched(RDM_PAGES_BEST);
	return T_PASS;
}
