/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/slab_map.h"

#include "base/contract.h"
#include "memory/reserve.h"
#include "memory/sidetable.h"
#include "sync/quiesce.h"

_Atomic(struct rdm_slab *) *rdm_slab_map;

static struct rdm_sidetable table;

int rdm_slab_map_open(size_t reserve)
{
	int error =
		rdm_sidetable_claim(&table, (reserve >> RDM_GRANULE_SHIFT) * sizeof(*rdm_slab_map));

	rdm_slab_map = (_Atomic(struct rdm_slab *) *)table.base;
	return error;
}

int rdm_slab_map_cover(const void *end)
{
	size_t granules = rdm_reserve_distance(end) >> RDM_GRANULE_SHIFT;

	return rdm_sidetable_cover(&table, granules * sizeof(*rdm_slab_map));
}

void rdm_slab_map_close(void)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_slab_map = NULL;
	rdm_sidetable_unmap(&table);
}

void rdm_slab_map_assign(void *addr, size_t length, struct rdm_slab *slab)
{
	size_t first = rdm_reserve_distance(addr) >> RDM_GRANULE_SHIFT;
	size_t end = first + (length >> RDM_GRANULE_SHIFT);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(end * sizeof(*rdm_slab_map) <= table.usable);
	for (size_t i = first; i < end; i++)
		atomic_store_explicit(&rdm_slab_map[i], slab, memory_order_release);
}
