/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/rail.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/blame.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/reserve.h"
#include "sync/quiesce.h"

static void explain(const struct rdm_rail *rail, bool slab, size_t length, int error)
{
	bool limited = error == ENOMEM || error == EPERM || error == EAGAIN || error == ENOSPC;
	const struct rdm_failure failure = { error, RDM_WANT_PINS, length, NULL };
	struct rdm_blame_text memlock;

	rdm_assert(error > 0);
	rdm_assert(rail->registrar.name);
	rdm_blame_find(&failure, &memlock);
	rdm_log(RDM_LOG_ERROR, "%s: cannot register %s of %zu %s (%s)%s%s", rail->registrar.name,
		slab ? "a slab" : "memory", slab ? length >> 20 : length, slab ? "MiB" : "bytes",
		strerror(error), memlock.at, limited ? rail->hint : "");
}

/* Nobody could go on: slabs are half made, and the lock is held for a thread that is gone. */
static void die_of_leaving(void *arg)
{
	const struct rdm_rail *rail = arg;

	rdm_die("%s: a callback of this registrar has ended its thread: it must return, see "
		"rdm_pool_add_rail(3)",
		rail->registrar.name);
}

int rdm_rail_register(const struct rdm_rail *rail, void *addr, size_t length, struct rdm_mr *mr)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail->used && rail->registrar.reg);
	rdm_assert(mr);
	rdm_assert(addr && length);
	*mr = (struct rdm_mr){ 0 };
	pthread_cleanup_push(die_of_leaving, (void *)rail);
	error = rail->registrar.reg(rail->context, addr, length, mr);
	pthread_cleanup_pop(0);
	/* A callback that returns -1 would be taken for an errno value. */
	if (error < 0)
		error = EIO;
	if (error)
		explain(rail, rdm_reserve_has(addr), length, error);
	return error;
}

int rdm_rail_deregister(const struct rdm_rail *rail, void *addr, size_t length,
			const struct rdm_mr *mr)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail->used && rail->registrar.dereg);
	rdm_assert(mr);
	pthread_cleanup_push(die_of_leaving, (void *)rail);
	error = rail->registrar.dereg(rail->context, mr);
	pthread_cleanup_pop(0);
	if (error < 0)
		error = EIO;
	if (error)
		rdm_log(RDM_LOG_ERROR, "%s: cannot deregister %zu bytes at %p (%s): %s",
			rail->registrar.name, length, addr, strerror(error),
			rdm_reserve_has(addr) ? "the slab stays mapped and unused" :
						"they stay registered");
	return error;
}

void rdm_rail_close(struct rdm_rail *rail, bool inherited)
{
	rdm_assert(rail->used);
	if (rail->close)
		rail->close(rail->context, inherited);
	*rail = (struct rdm_rail){ 0 };
}
