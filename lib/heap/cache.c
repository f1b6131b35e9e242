/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/cache.h"

#include "base/contract.h"
#include "heap/heap.h"
#include "memory/reserve.h"
#include "sync/quiesce.h"

size_t rdm_cache_budget;
struct rdm_quick rdm_quick;

void rdm_cache_quicken(void)
{
	rdm_assert(rdm_quiesce_is_held());
	if (!rdm_quick.classes && !rdm_tls_open())
		return;
	/* Other threads read them meanwhile: they take the longer way once more. */
	__atomic_store_n(&rdm_quick.classes, RDM_CLASS_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&rdm_quick.units, rdm_reserve_size() >> RDM_UNIT_SHIFT, __ATOMIC_RELEASE);
}

void rdm_cache_flush(struct rdm_cache *cache)
{
	rdm_assert(cache->home);
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		if (cache->stacks[c].floor)
			rdm_depot_put_magazine(&cache->home->depot, c, rdm_cache_unload(cache, c));
}

size_t rdm_cache_bytes(const struct rdm_cache *cache)
{
	size_t bytes = 0;

	rdm_assert(cache);
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++) {
		const struct rdm_stack *stack = &cache->stacks[c];
		void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);

		if (stack->floor)
			bytes += (size_t)(top - stack->floor) * rdm_class_size(c);
	}
	return bytes;
}

bool rdm_cache_sleeps(struct rdm_cache *cache, unsigned calls)
{
	uintptr_t sum = 0;

	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		sum += (uintptr_t)atomic_load_explicit(&cache->stacks[c].top, memory_order_relaxed);
	cache->asleep = sum && sum == cache->sum ? cache->asleep + 1 : 0;
	cache->sum = sum;
	return cache->asleep >= calls;
}
