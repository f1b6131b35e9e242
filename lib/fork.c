/* SPDX-License-Identifier: BSD-2-Clause */
#include "fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "background.h"
#include "caches.h"
#include "conf.h"
#include "gate.h"
#include "log.h"
#include "meta.h"
#include "pool.h"
#include "quiesce.h"
#include "reserve.h"
#include "snapshot.h"

static _Atomic uint64_t forks, last_ns;
static uint64_t prepare_ns;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void lock_pool(struct rdm_pool *pool)
{
	rdm_depot_lock(&pool->depot);
	rdm_slabs_lock(&pool->slabs);
}

static void snapshot_pool(struct rdm_pool *pool)
{
	rdm_snapshot_prefork(&pool->slabs);
}

static void leave_pool_in_parent(struct rdm_pool *pool)
{
	rdm_snapshot_postfork_parent(&pool->slabs);
	rdm_slabs_unlock(&pool->slabs);
	rdm_depot_unlock(&pool->depot);
}

static void leave_pool_in_child(struct rdm_pool *pool)
{
	rdm_snapshot_postfork_child(&pool->slabs);
	rdm_caches_postfork_child(pool);
	atomic_store(&pool->inherited, true);
	pool->complained = false;
	rdm_slabs_unlock(&pool->slabs);
	rdm_depot_unlock(&pool->depot);
}

static void forget_rails(struct rdm_pool *pool)
{
	rdm_slabs_close_rails(&pool->slabs, true);
}

static void prefork(void)
{
	uint64_t start = now();

	rdm_quiesce_prefork();
	rdm_gate_prefork();
	rdm_caches_prefork();
	rdm_pools_for_each(lock_pool);
	rdm_reserve_prefork();
	rdm_pools_for_each(snapshot_pool);
	prepare_ns = now() - start;
}

static void postfork_parent(void)
{
	uint64_t start = now();

	rdm_pools_for_each(leave_pool_in_parent);
	rdm_caches_postfork();
	rdm_gate_postfork_parent();
	atomic_store(&last_ns, prepare_ns + now() - start);
	atomic_fetch_add(&forks, 1);
	rdm_quiesce_postfork();
}

static void postfork_child(void)
{
	rdm_reserve_postfork_child();
	rdm_pools_for_each(leave_pool_in_child);
	rdm_caches_postfork();
	rdm_gate_postfork_child();
	/* jemalloc works again, and rails have memory of their own to free. */
	rdm_pools_for_each(forget_rails);
	rdm_background_open();
	rdm_quiesce_postfork();
}

static void register_handlers(void)
{
	void *first;
	int error;

	rdm_background_open();
	error = rdm_caches_open();
	/* The first allocation starts jemalloc. */
	first = rdm_meta_alloc(1);
	rdm_meta_free(first);
	if (!error)
		error = pthread_atfork(prefork, postfork_parent, postfork_child);
	if (error || !first)
		rdm_die("no memory to register fork handlers, or no thread-specific key left");
}

void rdm_fork_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_handlers);
}

/* Before ordinary constructors, jemalloc's among them. */
__attribute__((constructor(101))) static void load(void)
{
	rdm_conf();
	rdm_fork_init();
}

uint64_t rdm_fork_count(void)
{
	return atomic_load(&forks);
}

uint64_t rdm_fork_last_ns(void)
{
	return atomic_load(&last_ns);
}
