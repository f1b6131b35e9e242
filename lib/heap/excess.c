/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/excess.h"

#include "base/contract.h"
#include "heap/arena.h"
#include "heap/depot.h"
#include "slab/slab.h"
#include "sync/gate.h"

/* What there may be in any case, and for each byte that is carved a part of one. */
#define LEAST_BYTES ((size_t)1 << 20)
#define PART 32

/* So many blocks at a time. */
#define SOME 64

void rdm_excess_return(struct rdm_heap *heap, unsigned class)
{
	void *blocks[SOME];
	size_t bound, count;

	rdm_assert(rdm_gate_is_inside());
	rdm_assert(class && class <= RDM_CLASS_MAX);
	if (!heap->returns)
		return;
	bound = LEAST_BYTES + rdm_slabs_carved_bytes(heap->arena.slabs) / PART;
	while ((count = rdm_depot_take_excess(&heap->depot, bound, &class, blocks, SOME)))
		rdm_arena_free_batch(&heap->arena, class, blocks, count);
}
