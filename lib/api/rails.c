/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "api/create.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/rail.h"
#include "pool/foreign.h"
#include "pool/growth.h"
#include "pool/pool.h"
#include "rdmalloc.h"
#include "slab/registration.h"
#include "sync/quiesce.h"

/* A free slot, or -1. */
static int free_rail(const struct rdm_pool *pool)
{
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		if (!pool->slabs.rails[i].used)
			return i;
	return -1;
}

static int adopt(struct rdm_pool *pool)
{
	rdm_assert(atomic_load(&pool->heap.inherited));
	if (pool->slabs.kind.backing != RDM_BACKING_ANON) {
		rdm_log(RDM_LOG_ERROR,
			"pool %s was inherited through fork() and is not anon: rdm_pool_reset() it",
			pool->name);
		return ENOTSUP;
	}
	return rdm_slabs_adopt(&pool->slabs);
}

static int check_max_length(const struct rdm_pool *pool, const struct rdm_rail *rail)
{
	size_t least = rdm_growth_least(&pool->slabs.kind);

	rdm_assert(rail->used);
	if (!rail->registrar.max_len || rail->registrar.max_len >= least)
		return 0;
	rdm_log(RDM_LOG_ERROR,
		"%s registers at most %zu bytes at a time, a slab of pool %s has %zu MiB at least",
		rail->registrar.name, rail->registrar.max_len, pool->name, least >> 20);
	return EFBIG;
}

/* From all that is registered. 0 or an errno value: then something still is. */
static int detach(struct rdm_pool *pool, int slot)
{
	int slabs = rdm_slabs_detach(&pool->slabs, slot);
	int foreign = rdm_foreign_detach(pool, slot);

	return slabs ? slabs : foreign;
}

/* Takes over `rail`, which is open, also when it fails. */
static int attach(struct rdm_pool *pool, struct rdm_rail *rail)
{
	int slot = free_rail(pool);
	int error = slot < 0 ? ENOSPC : check_max_length(pool, rail);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail->used && rail->registrar.reg && rail->registrar.dereg);
	if (error == ENOSPC)
		rdm_log(RDM_LOG_ERROR, "pool %s has %d rails already", pool->name, RDM_RAILS_MAX);
	if (!error && atomic_load(&pool->heap.inherited))
		error = adopt(pool);
	if (error) {
		rdm_rail_close(rail, false);
		return rdm_quiesce_leave(error);
	}
	pool->slabs.rails[slot] = *rail;
	error = rdm_slabs_attach(&pool->slabs, slot);
	if (!error)
		error = rdm_foreign_attach(pool, slot);
	rdm_growth_changed(pool);
	if (!error) {
		rdm_pool_end_inheritance(pool);
		rdm_quiesce_leave(0);
		return slot;
	}
	/* If a slab could not be let go the slot stays taken, closing. */
	if (!detach(pool, slot))
		rdm_rail_close(&pool->slabs.rails[slot], false);
	return rdm_quiesce_leave(error);
}

int rdm_pool_add_rail(rdm_pool *pool, const struct rdm_registrar *registrar, void *context)
{
	struct rdm_rail rail = { .context = context, .used = true };

	if (!rdm_pool_check(pool, "rdm_pool_add_rail"))
		return -1;
	if (!registrar || registrar->size != sizeof(*registrar) || !registrar->reg ||
	    !registrar->dereg) {
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_add_rail: the registrar's size or a callback is not set");
		errno = EINVAL;
		return -1;
	}
	rail.registrar = *registrar;
	if (!rail.registrar.name)
		rail.registrar.name = "callback rail";
	return rdm_quiesce_enter("rdm_pool_add_rail") ? attach(pool, &rail) : -1;
}

int rdm_pool_add_verbs(rdm_pool *pool, struct ibv_pd *pd, int access)
{
	struct rdm_rail rail = { .used = true };
	int error;

	if (!rdm_pool_check(pool, "rdm_pool_add_verbs") || !rdm_quiesce_enter("rdm_pool_add_verbs"))
		return -1;
	error = rdm_rail_open_verbs(&rail, pd, access);
	return error ? rdm_quiesce_leave(error) : attach(pool, &rail);
}

int rdm_pool_add_uring(rdm_pool *pool, struct io_uring *ring, unsigned slots)
{
	struct rdm_rail rail = { .used = true };
	int error;

	if (!rdm_pool_check(pool, "rdm_pool_add_uring") || !rdm_quiesce_enter("rdm_pool_add_uring"))
		return -1;
	error = rdm_rail_open_uring(&rail, ring, slots);
	return error ? rdm_quiesce_leave(error) : attach(pool, &rail);
}

int rdm_pool_remove_rail(rdm_pool *pool, int rail)
{
	int error;

	if (!rdm_pool_check(pool, "rdm_pool_remove_rail") ||
	    !rdm_quiesce_enter("rdm_pool_remove_rail"))
		return -1;
	if (rail < 0 || rail >= RDM_RAILS_MAX || !pool->slabs.rails[rail].used) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_remove_rail: pool %s has no rail %d", pool->name,
			rail);
		return rdm_quiesce_leave(ENOENT);
	}
	error = detach(pool, rail);
	if (!error)
		rdm_rail_close(&pool->slabs.rails[rail], false);
	rdm_growth_changed(pool);
	return rdm_quiesce_leave(error);
}
