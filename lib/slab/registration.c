/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/registration.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/blame.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/keys.h"
#include "memory/prepare.h"
#include "sync/quiesce.h"

size_t rdm_slabs_max_length(const struct rdm_slab_set *set)
{
	size_t least = SIZE_MAX;

	for (int i = 0; i < RDM_RAILS_MAX; i++) {
		const struct rdm_rail *rail = &set->rails[i];

		if (rail->used && rail->registrar.max_len && rail->registrar.max_len < least)
			least = rail->registrar.max_len & ~(RDM_GRANULE - 1);
	}
	return least;
}

unsigned rdm_slabs_open_rails(const struct rdm_slab_set *set)
{
	unsigned rails = 0;

	rdm_assert(set);
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		if (set->rails[i].used && !set->rails[i].closing)
			rails |= 1U << i;
	return rails;
}

bool rdm_slab_is_inherited(const struct rdm_slab *slab)
{
	rdm_assert(rdm_quiesce_is_held());
	return rdm_reserve_keeps(slab->base);
}

unsigned rdm_slab_rails(const struct rdm_slab *slab)
{
	return rdm_slab_is_inherited(slab) ? 0 : atomic_load(&slab->keyed);
}

#ifdef RDM_CHECKING
bool rdm_slab_keys_agree(const struct rdm_slab *slab)
{
	uintptr_t distance = rdm_reserve_distance(slab->base);
	unsigned keyed = rdm_slab_rails(slab);

	for (size_t rail = 0; rail < RDM_RAILS_MAX && distance < rdm_keys_reach(); rail++) {
		struct rdm_key key = { 0 };
		bool has = rdm_keys.rail[rail] && rdm_keys_get(distance, rail, &key);

		/* One that could not be let go has its key in the record only. */
		if (slab->set->rails[rail].closing)
			continue;
		if (has != (keyed >> rail & 1))
			return false;
		if (has && (key.lkey != slab->mr[rail].lkey || key.rkey != slab->mr[rail].rkey ||
			    key.base != slab->base || key.length != slab->length))
			return false;
	}
	return true;
}
#endif

size_t rdm_slab_registered_bytes(const struct rdm_slab *slab)
{
	return rdm_slab_rails(slab) ? slab->length : 0;
}

int rdm_slab_register(struct rdm_slab *slab, int rail)
{
	struct rdm_slab_set *set = slab->set;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	rdm_assert(set->rails[rail].used);
	rdm_assert(!(atomic_load(&slab->keyed) & (1U << rail)));
	/* Paging, KSM or a fork may have undone an earlier write. */
	rdm_prepare_dirty(slab->base, slab->length);
	error = rdm_rail_register(&set->rails[rail], slab->base, slab->length, &slab->mr[rail]);
	if (error)
		return error;
	atomic_fetch_add(&set->registrations, 1);
	atomic_fetch_or_explicit(&slab->keyed, 1U << rail, memory_order_release);
	rdm_keys_set(rail, slab->base, slab->length, &slab->mr[rail]);
	return 0;
}

int rdm_slab_deregister(struct rdm_slab *slab, int rail)
{
	struct rdm_slab_set *set = slab->set;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	if (!(rdm_slab_rails(slab) & (1U << rail)))
		return 0;
	/* From here on nobody may get the key; where it has to stay, rdm_key() asks the slab. */
	rdm_keys_clear(rail, slab->base, slab->length);
	atomic_fetch_and(&slab->keyed, ~(1U << rail));
	error = rdm_rail_deregister(&set->rails[rail], slab->base, slab->length, &slab->mr[rail]);
	if (error)
		atomic_fetch_or(&slab->keyed, 1U << rail);
	else
		set->deregistrations++;
	return error;
}

int rdm_slabs_attach(struct rdm_slab_set *set, int rail)
{
	struct rdm_slab *slab = TAILQ_LAST(&set->slabs, rdm_slab_list);
	size_t max = set->rails[rail].registrar.max_len;
	int error = slab ? rdm_keys_cover(slab->base + slab->length) : 0;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	rdm_assert(set->rails[rail].used && !set->rails[rail].closing);
	if (error) {
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){
				  error, RDM_WANT_ADDRESSES | RDM_WANT_MEMORY | RDM_WANT_MAPPINGS,
				  RDM_GRANULE, NULL },
			  "no memory for the keys of one more rail");
		return error;
	}
	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (slab->quarantined)
			continue;
		if (max && slab->length > max) {
			rdm_log(RDM_LOG_ERROR,
				"%s registers at most %zu bytes, the pool has a slab of %zu: "
				"make the pool with a smaller slab_size",
				set->rails[rail].registrar.name, max, slab->length);
			error = EFBIG;
		} else {
			/* KSM could undo the write of the registration, too. */
			rdm_prepare_unmerge(slab->base, slab->length);
			error = rdm_slab_register(slab, rail);
		}
		if (error)
			break;
		rdm_assert(rdm_slab_keys_agree(slab));
	}
	return error;
}

int rdm_slabs_detach(struct rdm_slab_set *set, int rail)
{
	struct rdm_slab *slab;
	int error = 0;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	rdm_assert(set->rails[rail].used);
	set->rails[rail].closing = true;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		int failed = rdm_slab_deregister(slab, rail);

		if (failed)
			error = failed;
		/* ibv_dereg_mr() may have called madvise(MADV_DOFORK). */
		else if (!rdm_slab_is_inherited(slab))
			rdm_prepare_dontfork(slab->base, slab->length);
	}
	return error;
}

void rdm_slabs_close_rails(struct rdm_slab_set *set, bool inherited)
{
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		if (set->rails[i].used)
			rdm_rail_close(&set->rails[i], inherited);
}
