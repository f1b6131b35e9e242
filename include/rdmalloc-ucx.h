/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDMALLOC_UCX_H
#define RDMALLOC_UCX_H

/*
 * A UCP context as a rail of a pool: each slab is mapped with ucp_mem_map(), once, with all devices
 * of the context. In a library of its own, librdmalloc-ucx.
 */

#include <rdmalloc.h>
#include <ucp/api/ucp.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Adds a rail, as rdm_pool_add_verbs() does. The context must outlive the rail.
 * errno: as rdm_pool_add_rail(); EINVAL also for no context; ENOMEM or EIO for what ucp_mem_map()
 * failed with, which UCX's own log names.
 */
RDM_API int rdm_pool_add_ucx(rdm_pool *pool, ucp_context_h context);

/*
 * Of what rdm_key() said on such a rail: the handle for ucp_request_param_t.memh, and for
 * ucp_rkey_pack(), whose packed key opens the block's whole slab.
 */
static inline ucp_mem_h rdm_ucx_memh(const struct rdm_key *key)
{
	return (ucp_mem_h)key->handle;
}

#ifdef __cplusplus
}
#endif

#endif
