/* SPDX-License-Identifier: BSD-2-Clause */
#include "rdmalloc-ofi.h"

#include <errno.h>
#include <pthread.h>
#include <rdma/fi_errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>

/*
 * Where the provider takes the key that it is asked for, none may be asked for twice in a domain,
 * and others register there, too: they mostly begin at 0.
 */
#define FIRST_KEY 0x72000000
#define TRIES 1024

/* What fi_mr_reg() needs. A rail that goes does not say so, so it stays for the next one. */
struct rail {
	struct fid_domain *domain;
	uint64_t access;
	_Atomic uint64_t next_key;
	SLIST_ENTRY(rail) link;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SLIST_HEAD(, rail) rails = SLIST_HEAD_INITIALIZER(rails);

static int reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	struct rail *rail = context;
	struct fid_mr *fid = NULL;
	int error = -FI_ENOKEY;

	for (unsigned i = 0; i < TRIES && error == -FI_ENOKEY; i++)
		error = fi_mr_reg(rail->domain, addr, length, rail->access, 0,
				  atomic_fetch_add(&rail->next_key, 1), 0, &fid, NULL);
	if (error)
		return -error;
	*mr = (struct rdm_mr){ .rkey = (uint32_t)fi_mr_key(fid), .handle = fid };
	return 0;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	struct fid_mr *fid = mr->handle;

	(void)context;
	return -fi_close(&fid->fid);
}

static struct rail *rail_of(struct fid_domain *domain, uint64_t access)
{
	struct rail *rail;

	pthread_mutex_lock(&lock);
	SLIST_FOREACH (rail, &rails, link)
		if (rail->domain == domain && rail->access == access)
			break;
	if (!rail && (rail = calloc(1, sizeof(*rail)))) {
		rail->domain = domain;
		rail->access = access;
		rail->next_key = FIRST_KEY;
		SLIST_INSERT_HEAD(&rails, rail, link);
	}
	pthread_mutex_unlock(&lock);
	return rail;
}

int rdm_pool_add_libfabric(rdm_pool *pool, struct fid_domain *domain, uint64_t access)
{
	static const struct rdm_registrar registrar = {
		.size = sizeof(registrar),
		.name = "libfabric",
		.reg = reg,
		.dereg = dereg,
	};
	struct rail *rail;

	if (!domain) {
		errno = EINVAL;
		return -1;
	}
	rail = rail_of(domain, access);
	return rail ? rdm_pool_add_rail(pool, &registrar, rail) : -1;
}
