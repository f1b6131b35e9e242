/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDMALLOC_OFI_H
#define RDMALLOC_OFI_H

/*
 * A libfabric domain as a rail of a pool: each slab is registered with fi_mr_reg(), once, and every
 * block has its key and descriptor. In a library of its own, librdmalloc-ofi.
 */

#include <stdint.h>

#include <rdma/fi_domain.h>
#include <rdmalloc.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Adds a rail, as rdm_pool_add_verbs() does; access is an OR of FI_SEND, FI_RECV, FI_READ,
 * FI_WRITE, FI_REMOTE_READ and FI_REMOTE_WRITE. The domain must outlive the rail. Domains whose
 * registrations must be bound to an endpoint (FI_MR_ENDPOINT) are out of scope.
 * errno: as rdm_pool_add_rail(); EINVAL also for no domain; or what fi_mr_reg() failed with.
 */
RDM_API int rdm_pool_add_libfabric(rdm_pool *pool, struct fid_domain *domain, uint64_t access);

/* Of what rdm_key() said on such a rail: the key for the peer, and the descriptor for one's own calls. */
static inline uint64_t rdm_ofi_key(const struct rdm_key *key)
{
	return fi_mr_key((struct fid_mr *)key->handle);
}

static inline void *rdm_ofi_desc(const struct rdm_key *key)
{
	return fi_mr_desc((struct fid_mr *)key->handle);
}

#ifdef __cplusplus
}
#endif

#endif
