/* SPDX-License-Identifier: BSD-2-Clause */
#include "api/create.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "fork/fork.h"
#include "fork/snapshot.h"
#include "heap/caches.h"
#include "heap/settle.h"
#include "memory/meta.h"
#include "memory/reserve.h"
#include "pool/foreign.h"
#include "pool/growth.h"
#include "pool/publish.h"
#include "slab/fill.h"
#include "slab/live.h"
#include "slab/registration.h"
#include "sync/gate.h"
#include "sync/quiesce.h"

static bool bad_field(const char *what)
{
	rdm_log(RDM_LOG_ERROR, "rdm_pool_create: %s: see rdm_pool_create(3)", what);
	return false;
}

static bool check_config(const struct rdm_pool_config *config)
{
	if (config->size != sizeof(*config))
		return bad_field("size is not sizeof(struct rdm_pool_config)");
	if (config->slab_size % RDM_GRANULE)
		return bad_field("slab_size is not a multiple of 2 MiB");
	if (config->limit && config->limit < RDM_GRANULE)
		return bad_field("limit is below 2 MiB");
	if (config->backing > RDM_BACKING_SHARED || config->pages > RDM_PAGES_1G ||
	    config->fork > RDM_FORK_COPY)
		return bad_field("backing, pages or fork is out of range");
	if (config->node < -1)
		return bad_field("node is below -1");
	return true;
}

static bool check_kind(const struct rdm_memory_kind *kind)
{
	bool hugetlb_pages = kind->pages == RDM_PAGES_2M || kind->pages == RDM_PAGES_1G;

	if (kind->backing == RDM_BACKING_HUGETLB && kind->pages != RDM_PAGES_BEST && !hugetlb_pages)
		return bad_field("hugetlb memory has pages best, 2M or 1G");
	if (kind->backing != RDM_BACKING_HUGETLB && hugetlb_pages)
		return bad_field("pages 2M and 1G are for backing hugetlb");
	return true;
}

/* Fills the pool from config, RDMALLOC_CONF and the defaults, in this order. */
static bool configure(struct rdm_pool *pool, const struct rdm_pool_config *config)
{
	static const struct rdm_pool_config none = RDM_POOL_CONFIG_INIT;
	const struct rdm_conf *conf = rdm_conf();
	struct rdm_memory_kind *kind = &pool->slabs.kind;
	size_t least;

	config = config ? config : &none;
	if (!check_config(config))
		return false;
	pool->slab_size = config->slab_size ? config->slab_size : conf->slab_size;
	pool->limit = (config->limit ? config->limit : conf->limit) & ~(RDM_GRANULE - 1);
	pool->slabs.watermark.bytes = config->watermark ? config->watermark : conf->watermark;
	kind->backing = config->backing ? config->backing : conf->backing;
	kind->pages = config->pages ? config->pages : conf->pages;
	kind->node = config->node >= 0 ? config->node : conf->node;
	pool->slabs.fork = config->fork ? config->fork : conf->fork;
	if (kind->backing == RDM_BACKING_DEFAULT)
		kind->backing = RDM_BACKING_ANON;
	if (kind->pages == RDM_PAGES_DEFAULT)
		kind->pages = RDM_PAGES_BEST;
	if (pool->slabs.fork == RDM_FORK_DEFAULT)
		pool->slabs.fork = RDM_FORK_HOLE;
	if (!check_kind(kind))
		return false;
	least = rdm_growth_least(kind);
	pool->slab_size = (pool->slab_size + least - 1) & ~(least - 1);
	if (pool->limit && pool->limit < least)
		return bad_field("limit is smaller than a huge page");
	snprintf(pool->name, sizeof(pool->name), "%s", config->name ? config->name : "unnamed");
	pool->heap.kept_max = SIZE_MAX;
	pool->slabs.ops = &rdm_registered_ops;
	return true;
}

static int map_registered(const struct rdm_slab_set *set, void *addr, size_t length, size_t slab,
			  enum rdm_log_level level)
{
	return rdm_prepare_map(addr, length, slab, &set->kind, level);
}

const struct rdm_slab_ops rdm_registered_ops = {
	.map = map_registered,
	.fill = rdm_fill,
	.pinned_bytes = rdm_slab_registered_bytes,
	.prefork = rdm_snapshot_prefork,
	.copy = rdm_snapshot_copy_live,
	.postfork_parent = rdm_snapshot_postfork_parent,
	.postfork_child = rdm_snapshot_postfork_child,
};

int rdm_pool_open(struct rdm_pool *pool)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(pool->slabs.ops && pool->heap.kept_max);
	rdm_assert(pool->slab_size && !(pool->slab_size & (RDM_GRANULE - 1)));
	/* Where the library is linked statically, this is what pulls the handlers in. */
	rdm_fork_init();
	error = rdm_prepare_check(&pool->slabs.kind);
	if (!error)
		error = rdm_slabs_open_reserve(pool->slabs.ops->outlives_fork);
	if (error)
		return error;
	rdm_cache_quicken();
	rdm_slabs_init(&pool->slabs, pool, &pool->heap);
	error = rdm_arena_init(&pool->heap.arena, &pool->slabs);
	if (error) {
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_create: jemalloc has no arena for one more pool (%s); 4,000 are possible",
			strerror(error));
		return ENOMEM;
	}
	rdm_depot_init(&pool->heap.depot);
	LIST_INIT(&pool->heap.caches);
	rdm_pools_add(pool);
	rdm_publish_start();
	return 0;
}

struct rdm_pool *rdm_pool_new(void)
{
	struct rdm_pool *pool = rdm_meta_alloc(sizeof(*pool));

	if (!pool)
		rdm_blame(RDM_LOG_ERROR, &rdm_meta_failure,
			  "rdm_pool_create: no memory for the pool's own record");
	return pool;
}

rdm_pool *rdm_pool_create(const struct rdm_pool_config *config)
{
	struct rdm_pool *pool;
	int error = 0;

	if (!rdm_quiesce_enter("rdm_pool_create"))
		return NULL;
	pool = rdm_pool_new();
	if (!pool)
		error = ENOMEM;
	else if (!configure(pool, config))
		error = EINVAL;
	if (!error)
		error = rdm_pool_open(pool);
	if (error)
		rdm_meta_free(pool);
	return rdm_quiesce_leave(error) ? NULL : pool;
}

/*
 * Whatever is carved: in a child, threads that are gone had runs in their hands
 * that are not recorded as live. 0 or errno: then some slabs are in quarantine.
 */
static int return_everything(struct rdm_pool *pool)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	/* What came late must not be put away into what is made of it afterwards. */
	rdm_settle_all();
	rdm_caches_forget(&pool->heap);
	rdm_arena_reset(&pool->heap.arena);
	rdm_arena_purge(&pool->heap.arena);
	rdm_slabs_uncarve_all(&pool->slabs);
	error = rdm_foreign_end(pool);
	if (!error)
		error = rdm_slabs_trim(&pool->slabs, 0);
	if (!error)
		rdm_slabs_close_rails(&pool->slabs, false);
	return error;
}

void rdm_pool_end_inheritance(struct rdm_pool *pool)
{
	rdm_assert(rdm_quiesce_is_held());
	if (!atomic_load(&pool->heap.inherited))
		return;
	rdm_caches_adopt(&pool->heap);
	atomic_store(&pool->heap.inherited, false);
}

int rdm_pool_destroy(rdm_pool *pool)
{
	size_t blocks, bytes;
	int error;

	if (!rdm_pool_check(pool, "rdm_pool_destroy") || !rdm_quiesce_enter("rdm_pool_destroy"))
		return -1;
	blocks = rdm_live_total(&pool->slabs, &bytes);
	if (blocks) {
		struct rdm_live_block first = { NULL, 0 };

		rdm_live_from(&pool->slabs, NULL, &first, 1);
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_destroy: pool %s has %zu live blocks (%zu bytes), the first one %p "
			"(%zu bytes): free them (rdm_pool_each_block() names all), or call "
			"rdm_pool_reset() first",
			pool->name, blocks, bytes, (void *)first.at, first.size);
		return rdm_quiesce_leave(EBUSY);
	}
	if (rdm_foreign_count(pool)) {
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_destroy: pool %s has %zu ranges of rdm_register(): rdm_deregister() "
			"them, or call rdm_pool_reset() first",
			pool->name, rdm_foreign_count(pool));
		return rdm_quiesce_leave(EBUSY);
	}
	error = return_everything(pool);
	if (error)
		return rdm_quiesce_leave(EBUSY);
	rdm_arena_destroy(&pool->heap.arena);
	rdm_caches_close(&pool->heap);
	rdm_pools_remove(pool);
	rdm_slabs_destroy(&pool->slabs);
	rdm_meta_free(pool);
	return rdm_quiesce_leave(0);
}

int rdm_pool_reset(rdm_pool *pool)
{
	int error;

	if (!rdm_pool_check(pool, "rdm_pool_reset") || !rdm_quiesce_enter("rdm_pool_reset"))
		return -1;
	rdm_slabs_lock(&pool->slabs);
	rdm_live_forget(&pool->slabs);
	rdm_slabs_unlock(&pool->slabs);
	error = return_everything(pool);
	if (!error)
		rdm_pool_end_inheritance(pool);
	rdm_growth_changed(pool);
	return rdm_quiesce_leave(error ? EBUSY : 0);
}
