/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/settle.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/contract.h"
#include "heap/arena.h"
#include "heap/caches.h"
#include "heap/heap.h"
#include "memory/meta.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "sync/gate.h"
#include "sync/late.h"
#include "sync/quiesce.h"

static void put_block_away(void *block, unsigned state)
{
	struct rdm_heap *heap = rdm_slab_of(block)->heap;

	rdm_assert(state);
	/* To the arena: who comes by here is in the midst of a trade of its own. */
	if (state & RDM_STATE_DIRECT || atomic_load(&heap->inherited))
		rdm_arena_free(block, state);
	else if (heap->returns)
		rdm_arena_free_batch(&heap->arena, state, &block, 1);
	else
		rdm_arena_free_many(&heap->arena, state, &block, 1);
}

/* Threads that may have taken something off the list, and not put it away yet. */
static _Atomic unsigned at_it;

void rdm_settle(void)
{
	struct rdm_late late;

	rdm_assert(rdm_gate_is_inside());
	atomic_fetch_add(&at_it, 1);
	while (rdm_late_any() && rdm_late_take(&late)) {
		if (late.kind == RDM_LATE_BLOCK)
			put_block_away(late.what, late.state);
		else if (late.kind == RDM_LATE_THREAD)
			rdm_caches_end_thread(late.what);
		else
			rdm_meta_free(late.what);
	}
	atomic_fetch_sub(&at_it, 1);
}

void rdm_settle_all(void)
{
	rdm_assert(rdm_quiesce_is_held());
	if (!rdm_gate_enter())
		return;
	rdm_settle();
	rdm_gate_leave();
	while (atomic_load(&at_it))
		sched_yield();
}
