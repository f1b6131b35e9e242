/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "base/log.h"
#include "memory/meta.h"
#include "memory/rail.h"

#ifdef HAVE_VERBS

#include <infiniband/verbs.h>

struct verbs_rail {
	struct ibv_pd *pd;
	int access;
	bool gone;
};

static int reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	const struct verbs_rail *verbs = context;
	struct ibv_mr *region = ibv_reg_mr(verbs->pd, addr, length, (unsigned)verbs->access);

	if (!region)
		return errno ? errno : EIO;
	*mr = (struct rdm_mr){ .lkey = region->lkey, .rkey = region->rkey, .handle = region };
	return 0;
}

/*
 * When a device is removed the kernel destroys what its users have registered
 * (uverbs_destroy_ufile_hw) and answers EIO from then on, to every command.
 */
static bool is_gone(const struct ibv_pd *pd)
{
	struct ibv_device_attr attributes;

	return ibv_query_device(pd->context, &attributes) == EIO;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	struct verbs_rail *verbs = context;
	int error = ibv_dereg_mr(mr->handle);

	if (error != EIO || !is_gone(verbs->pd))
		return error;
	if (!verbs->gone)
		rdm_log(RDM_LOG_WARN, "%s: the device is gone, and its registrations with it",
			ibv_get_device_name(verbs->pd->context->device));
	verbs->gone = true;
	return 0;
}

static void close_rail(void *context, bool inherited)
{
	(void)inherited;
	rdm_meta_free(context);
}

/*
 * Our slabs need no ibv_fork_init(), but a driver's own queues do where the
 * kernel does not copy pinned pages at fork.
 */
static void protect_driver_queues(void)
{
	static bool complained;
	int error;

	if (rdm_conf()->fork_init == RDM_FORK_INIT_NEVER ||
	    ibv_is_fork_initialized() != IBV_FORK_DISABLED)
		return;
	error = ibv_fork_init();
	if (error && !complained)
		rdm_log(RDM_LOG_WARN,
			"verbs: this kernel needs ibv_fork_init() for the driver's own queues, and it "
			"comes too late (%s): call it before the first registration",
			strerror(error));
	complained = error;
}

int rdm_rail_open_verbs(struct rdm_rail *rail, struct ibv_pd *pd, int access)
{
	struct ibv_device_attr attributes;
	struct verbs_rail *verbs;
	int error;

	if (!pd || !pd->context) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_add_verbs: %p is no protection domain",
			(void *)pd);
		return EINVAL;
	}
	/* Pages that are not pinned, and keys that do not go by address. */
	if (access & (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_ZERO_BASED)) {
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_add_verbs: IBV_ACCESS_ON_DEMAND and IBV_ACCESS_ZERO_BASED are not for "
			"pools: leave them out");
		return ENOTSUP;
	}
	error = ibv_query_device(pd->context, &attributes);
	if (error) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_add_verbs: ibv_query_device: %s", strerror(error));
		return error;
	}
	verbs = rdm_meta_alloc(sizeof(*verbs));
	if (!verbs) {
		rdm_blame(RDM_LOG_ERROR, &rdm_meta_failure,
			  "rdm_pool_add_verbs: no memory for the rail's own record");
		return ENOMEM;
	}
	protect_driver_queues();
	*verbs = (struct verbs_rail){ .pd = pd, .access = access };
	rail->registrar = (struct rdm_registrar){
		.size = sizeof(rail->registrar),
		.name = ibv_get_device_name(pd->context->device),
		.max_len = attributes.max_mr_size,
		.reg = reg,
		.dereg = dereg,
	};
	snprintf(rail->hint, sizeof(rail->hint),
		 "; the device has %d memory regions at most, see also rdma.max of the cgroup",
		 attributes.max_mr);
	rail->context = verbs;
	rail->close = close_rail;
	return 0;
}

#else

int rdm_rail_open_verbs(struct rdm_rail *rail, struct ibv_pd *pd, int access)
{
	(void)rail;
	(void)pd;
	(void)access;
	rdm_log(RDM_LOG_ERROR, "rdm_pool_add_verbs: this rdmalloc was built --without-verbs");
	return ENOTSUP;
}

#endif
