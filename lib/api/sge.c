/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stdint.h>

#include "rdmalloc.h"

#ifdef HAVE_VERBS

#include <infiniband/verbs.h>

static int fill(const struct iovec *iov, int rail, struct ibv_sge *sge)
{
	struct rdm_key key;

	if (rdm_key(iov->iov_base, rail, &key))
		return -1;
	/* An entry has 32 bits for its length. */
	if (iov->iov_len > UINT32_MAX ||
	    iov->iov_len > key.length - (size_t)((char *)iov->iov_base - (char *)key.base)) {
		errno = EINVAL;
		return -1;
	}
	*sge = (struct ibv_sge){ .addr = (uintptr_t)iov->iov_base,
				 .length = (uint32_t)iov->iov_len,
				 .lkey = key.lkey };
	return 0;
}

int rdm_sge(const struct iovec *iov, size_t count, int rail, struct ibv_sge *sge)
{
	for (size_t i = 0; i < count; i++)
		if (fill(&iov[i], rail, &sge[i]))
			return -1;
	return 0;
}

#else

int rdm_sge(const struct iovec *iov, size_t count, int rail, struct ibv_sge *sge)
{
	(void)iov;
	(void)count;
	(void)rail;
	(void)sge;
	errno = ENOTSUP;
	return -1;
}

#endif
