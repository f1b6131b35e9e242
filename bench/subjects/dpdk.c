/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DPDK's own memory, without huge pages so that no machine need be set up:
 * rte_malloc, or (MEMPOOL) a mempool of blocks of one size with the per-core
 * cache that DPDK's examples give it.
 */
#include "config.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_version.h>
#include <sched.h>
#include <stdio.h>

#include "worker.h"

#ifdef MEMPOOL
#define SUBJECT_NAME "dpdk-mempool"
#define SUBJECT_CASE 1
/* A batch of 1,024, or a ring of blocks between two threads and their caches. */
#define BLOCKS 1280
#define CACHE 256
#else
#define SUBJECT_NAME "dpdk"
#endif
#define SUBJECT_VERSION (rte_version() + sizeof("DPDK"))
#define SUBJECT_ALLOC 1
#define SUBJECT_THREAD 1
/* Room for 1,024 blocks of 1 MiB. */
#define MEGABYTES "1536"

static const char *subject_open(void)
{
	char lcores[32];
	char *arguments[] = { "bench",          "--no-huge",   "--no-shconf", "--no-pci",
			      "--no-telemetry", "--log-level", "error",       "-m",
			      MEGABYTES,        "--lcores",    lcores,        NULL };
	int count = sizeof(arguments) / sizeof(*arguments) - 1;

	snprintf(lcores, sizeof(lcores), "0@%d", sched_getcpu());
	if (rte_eal_init(count, arguments) < 0)
		return bench_why("rte_eal_init: %s", rte_strerror(rte_errno));
	return NULL;
}

static void subject_thread_begin(void)
{
	/* Else a thread has no number, and so no cache of a mempool's. */
	if (rte_thread_register())
		bench_die("rte_thread_register: %s", rte_strerror(rte_errno));
}

static void subject_thread_end(void)
{
	rte_thread_unregister();
}

#ifdef MEMPOOL

static struct rte_mempool *pool;

static const char *subject_case(const struct bench_case *c)
{
	pool = rte_mempool_create("bench", BLOCKS, c->size, CACHE, 0, NULL, NULL, NULL, NULL,
				  SOCKET_ID_ANY, 0);
	return pool ? NULL : bench_why("rte_mempool_create: %s", rte_strerror(rte_errno));
}

static void subject_case_end(const struct bench_case *c)
{
	(void)c;
	rte_mempool_free(pool);
}

static inline void *subject_alloc(size_t size)
{
	void *block;

	(void)size;
	return rte_mempool_get(pool, &block) ? NULL : block;
}

static inline void subject_free(void *ptr, size_t size)
{
	(void)size;
	rte_mempool_put(pool, ptr);
}

#else

static inline void *subject_alloc(size_t size)
{
	return rte_malloc(NULL, size, 0);
}

static inline void subject_free(void *ptr, size_t size)
{
	(void)size;
	rte_free(ptr);
}

#endif

#include "loops.h"
