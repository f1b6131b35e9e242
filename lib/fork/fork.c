/* SPDX-License-Identifier: BSD-2-Clause */
#include "fork/fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "fork/snapshot.h"
#include "heap/caches.h"
#include "memory/keys.h"
#include "memory/reserve.h"
#include "pool/pool.h"
#include "pool/publish.h"
#include "slab/registration.h"
#include "sync/background.h"
#include "sync/fork_count.h"
#include "sync/gate.h"
#include "sync/quiesce.h"

static uint64_t prepare_ns;
static const struct rdm_fork_guest *guest;

void rdm_fork_invite(const struct rdm_fork_guest *handlers)
{
	rdm_assert(handlers && handlers->prefork);
	rdm_assert(!guest || guest == handlers);
	guest = handlers;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void lock_depot(struct rdm_pool *pool)
{
	rdm_depot_prefork(&pool->heap.depot);
}

static void lock_set(struct rdm_pool *pool)
{
	rdm_slabs_prefork(&pool->slabs);
}

static void snapshot_pool(struct rdm_pool *pool)
{
	rdm_assert(pool->slabs.ops->prefork);
	pool->slabs.ops->prefork(&pool->slabs);
}

static void leave_pool_in_parent(struct rdm_pool *pool)
{
	pool->slabs.ops->postfork_parent(&pool->slabs);
	rdm_slabs_postfork(&pool->slabs);
	rdm_depot_postfork(&pool->heap.depot);
}

static void leave_pool_in_child(struct rdm_pool *pool)
{
	pool->slabs.ops->postfork_child(&pool->slabs);
	if (!pool->slabs.ops->outlives_fork) {
		rdm_caches_postfork_child(&pool->heap);
		atomic_store(&pool->heap.inherited, true);
		pool->complained = false;
	}
	rdm_slabs_postfork(&pool->slabs);
	rdm_depot_postfork(&pool->heap.depot);
}

static void forget_rails(struct rdm_pool *pool)
{
	rdm_slabs_close_rails(&pool->slabs, true);
}

/* Of pools that go on in the child. */
static void forget_threads(struct rdm_pool *pool)
{
	if (pool->slabs.ops->outlives_fork)
		rdm_caches_bury(&pool->heap);
}

static void prefork(void)
{
	uint64_t start = now();

	rdm_quiesce_prefork();
	rdm_gate_prefork();
	rdm_caches_prefork();
	rdm_pools_for_each(lock_depot);
	rdm_pools_for_each(lock_set);
	rdm_reserve_prefork();
	if (guest)
		guest->prefork();
	rdm_pools_for_each(snapshot_pool);
	prepare_ns = now() - start;
}

static void postfork_parent(void)
{
	uint64_t start = now();

	rdm_pools_for_each(leave_pool_in_parent);
	if (guest)
		guest->postfork_parent();
	rdm_caches_postfork();
	rdm_gate_postfork_parent();
	rdm_fork_counted(prepare_ns + now() - start);
	rdm_quiesce_postfork();
}

static void postfork_child(void)
{
	rdm_reserve_postfork_child();
	rdm_keys_postfork_child();
	rdm_pools_for_each(leave_pool_in_child);
	if (guest)
		guest->postfork_child();
	rdm_caches_postfork();
	rdm_gate_postfork_child();
	/* jemalloc works again, and rails have memory of their own to free. */
	rdm_pools_for_each(forget_rails);
	rdm_pools_for_each(forget_threads);
	rdm_background_open();
	rdm_publish_postfork_child();
	rdm_quiesce_postfork();
}

/* The preload's pthread_atfork() comes here first. */
static __thread bool registering;

static void register_handlers(void)
{
	int error;

	rdm_assert(!registering);
	registering = true;
	rdm_background_open();
	/* Its key has to be older than jemalloc's. */
	error = rdm_caches_open();
	if (!error)
		error = pthread_atfork(prefork, postfork_parent, postfork_child);
	if (error)
		rdm_die("no memory to register fork handlers, or no thread-specific key left");
}

void rdm_fork_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (!registering)
		pthread_once(&once, register_handlers);
}

/* Before ordinary constructors, jemalloc's among them. */
__attribute__((constructor(101))) static void load(void)
{
	rdm_conf();
	rdm_fork_init();
}
