/* SPDX-License-Identifier: BSD-2-Clause */
/* What rdm_pool_add_ucx() refuses; examples/ucx shows what it does. */
#include <errno.h>

#include "rdmalloc-ucx.h"
#include "support.h"

int main(void)
{
	rdm_pool *pool = rdm_pool_create(NULL);

	T_CHECK(pool);
	errno = 0;
	T_CHECK(rdm_pool_add_ucx(pool, NULL) == -1 && errno == EINVAL);
	errno = 0;
	T_CHECK(rdm_pool_add_ucx(NULL, (ucp_context_h)pool) == -1 && errno == EINVAL);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}
