/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool with a libfabric domain as its rail: tagged messages and one-sided access between two
 * processes, both of which fork while they run. Each round the first one sends a buffer, the
 * second one writes it into the first one's window, and reads it back from there.
 *
 * Usage: ofi [PROVIDER [ROUNDS]]     tcp and 50 by default; fi_info -l lists providers
 */
#include <err.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <rdma/fi_tagged.h>

#include "rdmalloc-ofi.h"
#include "rounds.h"

enum { LENGTH = ROUND_BYTES };
#define ACCESS (FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE)

/* What the other side must know: where messages go, and where its window is. */
struct card {
	char name[256];
	size_t name_length;
	uint64_t window, key;
};

static struct fi_info *info;
static struct fid_domain *domain;
static struct fid_ep *endpoint;
static struct fid_cq *queue;
static struct fid_av *addresses;
static fi_addr_t peer;
static struct card theirs;
static const char *provider = "tcp";
static unsigned rounds = 50;

static void must(long result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, fi_strerror((int)-result));
}

static void open_fabric(void)
{
	struct fi_cq_attr cq_attr = { .format = FI_CQ_FORMAT_CONTEXT };
	struct fi_av_attr av_attr = { .type = FI_AV_UNSPEC };
	struct fi_info *hints = fi_allocinfo();
	struct fid_fabric *fabric;
	int error;

	if (!hints)
		errx(1, "no memory");
	hints->caps = FI_TAGGED | FI_RMA;
	hints->ep_attr->type = FI_EP_RDM;
	hints->domain_attr->mr_mode =
		FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->tx_attr->op_flags = FI_DELIVERY_COMPLETE;
	hints->fabric_attr->prov_name = strdup(provider);
	error = fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &info);
	fi_freeinfo(hints);
	if (error) {
		printf("no provider %s: %s\n", provider, fi_strerror(-error));
		exit(77);
	}
	must(fi_fabric(info->fabric_attr, &fabric, NULL), "fi_fabric");
	must(fi_domain(fabric, info, &domain, NULL), "fi_domain");
	must(fi_endpoint(domain, info, &endpoint, NULL), "fi_endpoint");
	must(fi_cq_open(domain, &cq_attr, &queue, NULL), "fi_cq_open");
	must(fi_ep_bind(endpoint, &queue->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
	must(fi_av_open(domain, &av_attr, &addresses, NULL), "fi_av_open");
	must(fi_ep_bind(endpoint, &addresses->fid, 0), "fi_ep_bind");
	must(fi_enable(endpoint), "fi_enable");
}

/* Of a pointer into the window what remote calls name it by. */
static uint64_t remote_address(const void *pointer, const struct rdm_key *key)
{
	return info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ?
		       (uintptr_t)pointer :
		       (uint64_t)((const char *)pointer - (const char *)key->base);
}

static void exchange(int other, void *window, int rail)
{
	struct card mine = { .name_length = sizeof(mine.name) };
	struct rdm_key key;

	if (rdm_key(window, rail, &key))
		err(1, "rdm_key");
	must(fi_getname(&endpoint->fid, mine.name, &mine.name_length), "fi_getname");
	mine.window = remote_address(window, &key);
	mine.key = rdm_ofi_key(&key);
	if (write(other, &mine, sizeof(mine)) != sizeof(mine) ||
	    recv(other, &theirs, sizeof(theirs), MSG_WAITALL) != sizeof(theirs))
		err(1, "the other side");
	if (fi_av_insert(addresses, theirs.name, 1, &peer, 0, NULL) != 1)
		errx(1, "fi_av_insert");
}

/* Until what was asked for is done. Meanwhile the provider serves the other side's calls. */
static void wait_for(ssize_t started, const char *what)
{
	struct fi_cq_err_entry error = { 0 };
	struct fi_cq_entry entry;
	ssize_t got;

	must(started, what);
	while ((got = fi_cq_read(queue, &entry, 1)) == -FI_EAGAIN)
		sched_yield();
	if (got == -FI_EAVAIL && fi_cq_readerr(queue, &error, 0) == 1)
		errx(1, "%s: %s", what, fi_strerror(error.err));
	must(got, what);
}

#define WAIT_FOR(call)                                    \
	do {                                              \
		ssize_t started_;                         \
		while ((started_ = (call)) == -FI_EAGAIN) \
			fi_cq_read(queue, NULL, 0);       \
		wait_for(started_, #call);                \
	} while (0)

static void *desc_of(const void *buffer, int rail)
{
	struct rdm_key key;

	if (rdm_key(buffer, rail, &key))
		err(1, "rdm_key");
	return rdm_ofi_desc(&key);
}

static void first(rdm_pool *pool, int rail, unsigned char *window)
{
	for (unsigned round = 0; round < rounds; round++) {
		unsigned char *buffer = rdm_malloc(pool, LENGTH);
		pid_t child;

		if (!buffer)
			err(1, "rdm_malloc");
		child = rounds_begin_child(window);
		rounds_fill(buffer, round);
		WAIT_FOR(fi_tsend(endpoint, buffer, LENGTH, desc_of(buffer, rail), peer, round,
				  NULL));
		WAIT_FOR(
			fi_trecv(endpoint, buffer, 1, desc_of(buffer, rail), peer, round, 0, NULL));
		if (!rounds_is_filled(window, round))
			errx(1, "round %u: the window has not what was written into it", round);
		rounds_end_child(child);
		rdm_free(buffer);
	}
}

static void second(rdm_pool *pool, int rail)
{
	for (unsigned round = 0; round < rounds; round++) {
		unsigned char *buffer = rdm_malloc(pool, LENGTH), *back = rdm_malloc(pool, LENGTH);
		pid_t child;

		if (!buffer || !back)
			err(1, "rdm_malloc");
		child = rounds_begin_child(back);
		WAIT_FOR(fi_trecv(endpoint, buffer, LENGTH, desc_of(buffer, rail), peer, round, 0,
				  NULL));
		if (!rounds_is_filled(buffer, round))
			errx(1, "round %u: what came is not what was sent", round);
		WAIT_FOR(fi_write(endpoint, buffer, LENGTH, desc_of(buffer, rail), peer,
				  theirs.window, theirs.key, NULL));
		WAIT_FOR(fi_read(endpoint, back, LENGTH, desc_of(back, rail), peer, theirs.window,
				 theirs.key, NULL));
		if (!rounds_is_filled(back, round))
			errx(1, "round %u: what was read is not what was written", round);
		WAIT_FOR(fi_tsend(endpoint, buffer, 1, desc_of(buffer, rail), peer, round, NULL));
		rounds_end_child(child);
		rdm_free(buffer);
		rdm_free(back);
	}
}

static void serve(void)
{
	fi_cq_read(queue, NULL, 0);
	sched_yield();
}

static void run(int other, bool is_first)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	struct rdm_stats stats = { .size = sizeof(stats) };
	unsigned char *window;
	rdm_pool *pool;
	int rail;

	open_fabric();
	config.fork = RDM_FORK_COPY;
	pool = rdm_pool_create(&config);
	rail = pool ? rdm_pool_add_libfabric(pool, domain, ACCESS) : -1;
	window = rail < 0 ? NULL : rdm_malloc(pool, LENGTH);
	if (!window)
		err(1, "rdmalloc");
	exchange(other, window, rail);
	if (is_first)
		first(pool, rail, window);
	else
		second(pool, rail);
	rounds_part(other, serve);
	if (rdm_pool_stats(pool, &stats))
		err(1, "rdm_pool_stats");
	printf("%s, %s side: %u rounds, each with a child: all bytes are right; %llu registrations\n",
	       info->fabric_attr->prov_name, is_first ? "first" : "second", rounds,
	       (unsigned long long)stats.registrations);
}

int main(int argc, char *argv[])
{
	if (argc > 1)
		provider = argv[1];
	if (argc > 2)
		rounds = (unsigned)atoi(argv[2]);
	return rounds_in_two(run);
}
