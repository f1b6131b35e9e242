/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/stats.h"

#include <errno.h>

#include "base/contract.h"
#include "base/log.h"
#include "heap/caches.h"
#include "memory/state.h"
#include "slab/live.h"
#include "sync/fork_count.h"
#include "sync/quiesce.h"

static void count_slabs(struct rdm_slab_set *set, struct rdm_stats *stats)
{
	const struct rdm_slab *slab;

	rdm_assert(stats);
	rdm_slabs_lock(set);
	TAILQ_FOREACH (slab, &set->slabs, link)
		stats->slabs += !slab->quarantined;
	stats->carved_bytes = set->carved_pages << rdm_state.page_shift;
	rdm_slabs_unlock(set);
}

void rdm_stats_read(struct rdm_pool *pool, struct rdm_stats *stats)
{
	struct rdm_slab_set *set = &pool->slabs;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(stats);
	*stats = (struct rdm_stats){
		.size = sizeof(*stats),
		.slab_bytes = set->bytes,
		.limit = pool->limit,
		.quarantined = set->quarantined,
		.registrations = set->registrations,
		.deregistrations = set->deregistrations,
		.growths = set->growths,
		.background_growths = pool->background_growths,
		.forks = rdm_fork_count(),
		.last_fork_ns = rdm_fork_last_ns(),
		.inherited = atomic_load(&pool->heap.inherited),
	};
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		stats->rails += set->rails[i].used;
	stats->magazine_bytes = rdm_caches_bytes(&pool->heap);
	stats->depot_bytes = rdm_depot_bytes(&pool->heap.depot);
	count_slabs(set, stats);
}

/* So many are looked up at a time. */
#define BLOCKS 64

int rdm_pool_each_block(rdm_pool *pool, int (*visit)(void *context, void *block, size_t size),
			void *context)
{
	struct rdm_live_block block[BLOCKS];
	const char *from = NULL;
	size_t n;

	if (!rdm_pool_check(pool, "rdm_pool_each_block"))
		return -1;
	if (!visit) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_each_block: there is no function to call");
		errno = EINVAL;
		return -1;
	}
	do {
		if (!rdm_quiesce_enter("rdm_pool_each_block"))
			return -1;
		n = rdm_live_from(&pool->slabs, from, block, BLOCKS);
		rdm_quiesce_leave(0);
		for (size_t i = 0; i < n; i++) {
			int result = visit(context, block[i].at, block[i].size);

			if (result)
				return result;
			from = block[i].at + block[i].size;
		}
	} while (n == BLOCKS);
	return 0;
}

int rdm_pool_stats(rdm_pool *pool, struct rdm_stats *stats)
{
	if (!rdm_pool_check(pool, "rdm_pool_stats"))
		return -1;
	if (!stats || stats->size != sizeof(*stats)) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_stats: size is not sizeof(struct rdm_stats)");
		errno = EINVAL;
		return -1;
	}
	if (!rdm_quiesce_enter("rdm_pool_stats"))
		return -1;
	rdm_stats_read(pool, stats);
	stats->live_blocks = rdm_live_total(&pool->slabs, &stats->live_bytes);
	return rdm_quiesce_leave(0);
}
