/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/pool.h"

#include <errno.h>

#include "base/bits.h"
#include "base/contract.h"
#include "base/log.h"
#include "sync/quiesce.h"

#define MAGIC 0x6c6f6f706d6472ULL

#define POOLS_MAX 4096 /* jemalloc has fewer arenas */

static struct rdm_pool *pools;
static unsigned long slots[POOLS_MAX / RDM_BITS_WORD];

bool rdm_pool_check(const struct rdm_pool *pool, const char *caller)
{
	if (pool && atomic_load_explicit(&pool->magic, memory_order_relaxed) == MAGIC)
		return true;
	rdm_log(RDM_LOG_ERROR, "%s: %p is no pool, or one that was destroyed", caller,
		(const void *)pool);
	errno = EINVAL;
	return false;
}

void rdm_pools_add(struct rdm_pool *pool)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(pool->slabs.ops && pool->slab_size);
	pool->heap.slot = (unsigned)rdm_bits_next(slots, POOLS_MAX, 0, false);
	rdm_bits_assign(slots, pool->heap.slot, 1, true);
	pool->next = pools;
	pools = pool;
	atomic_store(&pool->magic, MAGIC);
}

void rdm_pools_remove(struct rdm_pool *pool)
{
	struct rdm_pool **link = &pools;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(pools);
	while (*link != pool)
		link = &(*link)->next;
	*link = pool->next;
	rdm_bits_assign(slots, pool->heap.slot, 1, false);
	atomic_store(&pool->magic, 0);
}

struct rdm_pool *rdm_pools(void)
{
	return pools;
}

void rdm_pools_for_each(void (*call)(struct rdm_pool *pool))
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(call);
	for (struct rdm_pool *pool = pools; pool; pool = pool->next)
		call(pool);
}
