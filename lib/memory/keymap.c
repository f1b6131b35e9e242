/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/keymap.h"

#include "memory/sidetable.h"

_Atomic(struct rdm_slab *) *rdm_keymap;

static struct rdm_sidetable table;

int rdm_keymap_open(size_t reserve)
{
	size_t bytes = (reserve >> RDM_GRANULE_SHIFT) * sizeof(*rdm_keymap);
	int error = rdm_sidetable_map(&table, bytes);
	/* Readers look up any address of the reserve, so all of it must be readable. */
	if (!error)
		error = rdm_sidetable_cover(&table, bytes);
	if (error)
		rdm_sidetable_unmap(&table);
	else
		rdm_keymap = (_Atomic(struct rdm_slab *) *)table.base;
	return error;
}

void rdm_keymap_close(void)
{
	rdm_keymap = NULL;
	rdm_sidetable_unmap(&table);
}

void rdm_keymap_assign(void *addr, size_t length, struct rdm_slab *slab)
{
	size_t first = rdm_reserve_distance(addr) >> RDM_GRANULE_SHIFT;
	size_t end = first + (length >> RDM_GRANULE_SHIFT);

	for (size_t i = first; i < end; i++)
		atomic_store_explicit(&rdm_keymap[i], slab, memory_order_release);
}
