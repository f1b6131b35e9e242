/* SPDX-License-Identifier: BSD-2-Clause */
/* What rdm_pool_add_libfabric() refuses; examples/ofi shows what it does. */
#include <errno.h>

#include "rdmalloc-ofi.h"
#include "support.h"

int main(void)
{
	rdm_pool *pool = rdm_pool_create(NULL);

	T_CHECK(pool);
	errno = 0;
	T_CHECK(rdm_pool_add_libfabric(pool, NULL, FI_SEND) == -1 && errno == EINVAL);
	errno = 0;
	T_CHECK(rdm_pool_add_libfabric(NULL, (struct fid_domain *)pool, FI_SEND) == -1 &&
		errno == EINVAL);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}
