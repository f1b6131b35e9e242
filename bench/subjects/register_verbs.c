/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Register-per-buffer with a verbs device, the first that opens; FORK calls
 * ibv_fork_init first.
 */
#include "config.h"

#include <errno.h>
#include <infiniband/verbs.h>
#include <stdio.h>
#include <string.h>

#include "subjects/buffer.h"
#include "worker.h"

#ifdef FORK
#define SUBJECT_NAME "register-verbs-fork"
#else
#define SUBJECT_NAME "register-verbs"
#endif
#define SUBJECT_VERSION device
#define SUBJECT_READY 1
#define SUBJECT_LIVE 1

static const char *device;
static struct ibv_pd *pd;

static const char *subject_open(void)
{
	struct ibv_device **list;
	struct ibv_context *context;

	buffer_setup();
#ifdef FORK
	if (ibv_fork_init())
		return bench_why("ibv_fork_init: %s", strerror(errno));
#endif
	list = ibv_get_device_list(NULL);
	if (!list || !list[0])
		return "no verbs device on this machine";
	device = ibv_get_device_name(list[0]);
	context = ibv_open_device(list[0]);
	if (!context)
		return bench_why("ibv_open_device(%s): %s", device, strerror(errno));
	pd = ibv_alloc_pd(context);
	return pd ? NULL : bench_why("ibv_alloc_pd(%s): %s", device, strerror(errno));
}

static inline struct ibv_mr *make(size_t size)
{
	void *block = buffer_alloc(size);
	struct ibv_mr *mr = block ? ibv_reg_mr(pd, block, size, IBV_ACCESS_LOCAL_WRITE) : NULL;

	if (!mr)
		free(block);
	return mr;
}

static inline void drop(struct ibv_mr *mr)
{
	void *block = mr->addr;

	if (ibv_dereg_mr(mr))
		bench_die("ibv_dereg_mr: %s", strerror(errno));
	free(block);
}

static inline void *subject_ready(size_t size, uint64_t *key)
{
	struct ibv_mr *mr = make(size);

	if (!mr)
		bench_die("ibv_reg_mr: %s", strerror(errno));
	/* The region knows its lkey, and who deregisters needs the region. */
	*key = (uintptr_t)mr;
	return mr->addr;
}

static inline void subject_ready_free(void *ptr, size_t size, uint64_t key)
{
	(void)ptr;
	(void)size;
	drop((struct ibv_mr *)(uintptr_t)key);
}

static const char *subject_live(size_t size, size_t n, struct bench_live *live)
{
	struct ibv_mr **mr = bench_pages(n * sizeof(*mr));
	size_t vmas = bench_vmas(), i;

	for (i = 0; i < n; i++) {
		mr[i] = make(size);
		if (!mr[i]) {
			snprintf(live->why, sizeof(live->why), "ibv_reg_mr: %s", strerror(errno));
			break;
		}
	}
	live->made = live->regions = i;
	live->vmas = bench_vmas() - vmas;
	while (i--)
		drop(mr[i]);
	bench_pages_free(mr, n * sizeof(*mr));
	return NULL;
}

#include "loops.h"
