/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/rail.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/contract.h"
#include "base/log.h"
#include "memory/reserve.h"
#include "sync/quiesce.h"

static void explain(const struct rdm_rail *rail, size_t length, int error)
{
	bool limited = error == ENOMEM || error == EPERM || error == EAGAIN || error == ENOSPC;
	struct rlimit limit = { .rlim_cur = RLIM_INFINITY };
	char memlock[96] = "";

	rdm_assert(error > 0);
	rdm_assert(rail->registrar.name);
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if ((error == ENOMEM || error == EPERM) && limit.rlim_cur != RLIM_INFINITY)
		snprintf(
			memlock, sizeof(memlock),
			"; RLIMIT_MEMLOCK is %llu KiB for all that is pinned: raise it with `ulimit -l`",
			(unsigned long long)limit.rlim_cur >> 10);
	rdm_log(RDM_LOG_ERROR, "%s: cannot register a slab of %zu MiB (%s)%s%s",
		rail->registrar.name, length >> 20, strerror(error), memlock,
		limited ? rail->hint : "");
}

int rdm_rail_register(const struct rdm_rail *rail, void *addr, size_t length, struct rdm_mr *mr)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail->used && rail->registrar.reg);
	rdm_assert(mr);
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	*mr = (struct rdm_mr){ 0 };
	error = rail->registrar.reg(rail->context, addr, length, mr);
	/* A callback that returns -1 would be taken for an errno value. */
	if (error < 0)
		error = EIO;
	if (error)
		explain(rail, length, error);
	return error;
}

int rdm_rail_deregister(const struct rdm_rail *rail, void *addr, size_t length,
			const struct rdm_mr *mr)
{
	int error = rail->registrar.dereg(rail->context, mr);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail->used && rail->registrar.dereg);
	rdm_assert(mr);
	if (error < 0)
		error = EIO;
	if (error)
		rdm_log(RDM_LOG_ERROR,
			"%s: cannot deregister the slab %p of %zu MiB (%s): it stays mapped and unused",
			rail->registrar.name, addr, length >> 20, strerror(error));
	return error;
}

void rdm_rail_close(struct rdm_rail *rail, bool inherited)
{
	rdm_assert(rail->used);
	if (rail->close)
		rail->close(rail->context, inherited);
	*rail = (struct rdm_rail){ 0 };
}
