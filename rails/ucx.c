/* SPDX-License-Identifier: BSD-2-Clause */
#include "rdmalloc-ucx.h"

#include <errno.h>

static int errno_of(ucs_status_t status)
{
	return status == UCS_OK ? 0 : status == UCS_ERR_NO_MEMORY ? ENOMEM : EIO;
}

static int reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	ucp_mem_map_params_t params = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH,
		.address = addr,
		.length = length,
	};
	ucp_mem_h memh;
	int error = errno_of(ucp_mem_map(context, &params, &memh));

	if (!error)
		*mr = (struct rdm_mr){ .handle = memh };
	return error;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	return errno_of(ucp_mem_unmap(context, mr->handle));
}

int rdm_pool_add_ucx(rdm_pool *pool, ucp_context_h context)
{
	static const struct rdm_registrar registrar = {
		.size = sizeof(registrar),
		.name = "UCX",
		.reg = reg,
		.dereg = dereg,
	};

	if (!context) {
		errno = EINVAL;
		return -1;
	}
	return rdm_pool_add_rail(pool, &registrar, context);
}
