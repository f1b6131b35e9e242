/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libfabric: a buffer of malloc's, fi_mr_reg, its key. With a verbs device that is
 * a registration, or a hit in the provider's cache of them where the buffer was
 * there before; the providers that need no device only note the range.
 */
#include "config.h"

#include <errno.h>
#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "subjects/buffer.h"
#include "worker.h"

#define SUBJECT_NAME "libfabric"
#define SUBJECT_VERSION version
#define SUBJECT_READY 1
#define SUBJECT_KEY 1

/* Pages of a registration whose key is looked up: the device must pin 10,000. */
#define PIECE_PAGES 4
#define ACCESS (FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE)

static char version[80];
static struct fid_domain *domain;
static bool verbs;
/* Providers that let the caller choose keys want each but once. */
static uint64_t wanted_key;

/* NULL, or what failed: a provider that is called so. */
static const char *open_provider(const char *provider)
{
	struct fi_info *hints = fi_allocinfo(), *info = NULL;
	struct fid_fabric *fabric;
	int error;

	if (!hints)
		return "no memory for fi_allocinfo";
	hints->caps = FI_MSG | FI_RMA;
	hints->domain_attr->mr_mode =
		FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->fabric_attr->prov_name = strdup(provider);
	error = fi_getinfo(FI_VERSION(1, 9), NULL, NULL, 0, hints, &info);
	if (!error)
		error = fi_fabric(info->fabric_attr, &fabric, NULL);
	if (!error)
		error = fi_domain(fabric, info, &domain, NULL);
	fi_freeinfo(info);
	fi_freeinfo(hints);
	return error ? bench_why("no provider %s: %s", provider, fi_strerror(-error)) : NULL;
}

static const char *subject_open(void)
{
	uint32_t number = fi_version();
	const char *why;

	buffer_setup();
	/* The default of 1,024 registrations would be a race with its own eviction. */
	setenv("FI_MR_CACHE_MAX_COUNT", "20000", 0);
	why = open_provider("verbs");
	verbs = !why;
	if (!verbs)
		why = open_provider("tcp");
	snprintf(version, sizeof(version), "%u.%u, %s", FI_MAJOR(number), FI_MINOR(number),
		 verbs ? "verbs" : "no device, tcp: pins nothing");
	return why;
}

static struct fid_mr *enter(const void *addr, size_t length)
{
	struct fid_mr *mr;
	int error = fi_mr_reg(domain, addr, length, ACCESS, 0, wanted_key++, 0, &mr, NULL);

	if (error)
		bench_die("fi_mr_reg: %s", fi_strerror(-error));
	return mr;
}

static inline void leave(struct fid_mr *mr)
{
	int error = fi_close(&mr->fid);

	if (error)
		bench_die("fi_close: %s", fi_strerror(-error));
}

static inline void *subject_ready(size_t size, uint64_t *key)
{
	void *block = buffer_alloc(size);
	struct fid_mr *mr;

	if (!block)
		return NULL;
	mr = enter(block, size);
	bench_keep(fi_mr_key(mr));
	*key = (uintptr_t)mr;
	return block;
}

static inline void subject_ready_free(void *ptr, size_t size, uint64_t key)
{
	(void)size;
	leave((struct fid_mr *)(uintptr_t)key);
	free(ptr);
}

/* Two registrations that live at the same time have two keys. */
static bool is_cached(const void *addr, size_t length)
{
	struct fid_mr *first = enter(addr, length), *second = enter(addr, length);
	bool same = fi_mr_key(first) == fi_mr_key(second);

	leave(first);
	leave(second);
	return same;
}

static void subject_key_unset(struct bench_range *range, unsigned n)
{
	bench_pages_free(range[0].base, n * range[0].length);
}

static const char *subject_key_set(struct bench_range *range, unsigned n)
{
	size_t piece = PIECE_PAGES * buffer_page;
	char *base;

	if (!verbs)
		return "its cache is the verbs provider's, which found no device";
	base = bench_pages(n * piece);
	if (!is_cached(base, piece)) {
		bench_pages_free(base, n * piece);
		return "its cache is off";
	}
	for (unsigned i = 0; i < n; i++) {
		range[i] = (struct bench_range){ .base = base + i * piece, .length = piece };
		/* What is closed stays in the cache. */
		leave(enter(range[i].base, piece));
	}
	return NULL;
}

static inline uint64_t subject_key(const void *ptr)
{
	struct fid_mr *mr = enter(ptr, 1);
	uint64_t key = fi_mr_key(mr);

	leave(mr);
	return key;
}

#include "loops.h"
