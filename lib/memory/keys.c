/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/keys.h"

#include "base/contract.h"
#include "memory/reserve.h"
#include "memory/sidetable.h"
#include "sync/quiesce.h"

struct rdm_keys rdm_keys;

static struct rdm_sidetable tables[RDM_RAILS_MAX];
static bool of_parent; /* what the tables say */

static size_t granules_before(const void *end)
{
	return rdm_reserve_distance(end) >> RDM_GRANULE_SHIFT;
}

int rdm_keys_open(size_t reserve)
{
	size_t bytes = (reserve >> RDM_GRANULE_SHIFT) * sizeof(struct rdm_key);
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!atomic_load(&rdm_keys.reach));
	for (int rail = 0; rail < RDM_RAILS_MAX && !error; rail++) {
		error = rdm_sidetable_claim(&tables[rail], bytes);
		rdm_keys.rail[rail] = (const struct rdm_key *)(void *)tables[rail].base;
	}
	return error;
}

void rdm_keys_close(void)
{
	for (int rail = 0; rail < RDM_RAILS_MAX; rail++)
		rdm_sidetable_unmap(&tables[rail]);
}

int rdm_keys_cover(const void *end)
{
	size_t reach = rdm_reserve_distance(end);
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	/* Of all rails, because a look-up compares with one reach. */
	for (int rail = 0; rail < RDM_RAILS_MAX && !error; rail++)
		error = rdm_sidetable_cover(&tables[rail],
					    granules_before(end) * sizeof(struct rdm_key));
	if (!error && !of_parent && reach > atomic_load(&rdm_keys.reach))
		atomic_store(&rdm_keys.reach, reach);
	return error;
}

static struct rdm_key *entry_of(int rail, const void *address)
{
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	rdm_assert(tables[rail].base);
	return (struct rdm_key *)(void *)tables[rail].base + granules_before(address);
}

void rdm_keys_set(int rail, void *base, size_t length, const struct rdm_mr *mr)
{
	struct rdm_key *entry = entry_of(rail, base);
	struct rdm_key *end = entry + (length >> RDM_GRANULE_SHIFT);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(mr);
	rdm_assert(!((uintptr_t)base & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert((size_t)((char *)end - tables[rail].base) <= tables[rail].usable);
	for (; entry < end; entry++) {
		entry->lkey = mr->lkey;
		entry->rkey = mr->rkey;
		entry->handle = mr->handle;
		entry->base = base;
		__atomic_store_n(&entry->length, length, __ATOMIC_RELEASE);
	}
}

void rdm_keys_clear(int rail, const void *base, size_t length)
{
	struct rdm_key *entry = entry_of(rail, base);
	struct rdm_key *end = entry + (length >> RDM_GRANULE_SHIFT);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)base & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	for (; entry < end; entry++)
		__atomic_store_n(&entry->length, 0, __ATOMIC_RELEASE);
}

void rdm_keys_postfork_child(void)
{
	if (!atomic_load(&rdm_keys.reach))
		return;
	of_parent = true;
	atomic_store(&rdm_keys.reach, 0);
}
