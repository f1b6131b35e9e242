/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/watermark.h"

#include <stdatomic.h>

#include "base/contract.h"
#include "memory/state.h"
#include "slab/slab.h"
#include "sync/lock.h"
#include "sync/workers.h"

static _Atomic uint64_t turns;

static size_t spare_in_all(const struct rdm_slab_set *set)
{
	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_assert(set->bytes >= set->carved_pages << rdm_state.page_shift);
	return set->bytes - (set->carved_pages << rdm_state.page_shift);
}

static size_t spare(const struct rdm_slab_set *set)
{
	rdm_assert(rdm_lock_is_mine(&set->lock));
	rdm_assert(set->watermark.idle <= set->bytes);
	return set->watermark.whole ? set->watermark.idle : spare_in_all(set);
}

static void ask(struct rdm_watermark *mark, enum rdm_watermark_state state)
{
	rdm_assert(state == RDM_WATERMARK_ASKED || state == RDM_WATERMARK_MORE);
	mark->state = state;
	mark->turn = atomic_fetch_add(&turns, 1) + 1;
}

bool rdm_watermark_crossed(struct rdm_slab_set *set)
{
	struct rdm_watermark *mark = &set->watermark;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	if (mark->state != RDM_WATERMARK_READY || spare(set) >= mark->bytes)
		return false;
	mark->node = rdm_workers_node();
	ask(mark, RDM_WATERMARK_ASKED);
	return true;
}

void rdm_watermark_missed(struct rdm_slab_set *set)
{
	struct rdm_watermark *mark = &set->watermark;

	rdm_lock_take(&set->lock);
	if (mark->bytes && spare_in_all(set) >= mark->bytes)
		mark->whole = true;
	rdm_lock_release(&set->lock);
}

void rdm_watermark_renew(struct rdm_slab_set *set)
{
	rdm_lock_take(&set->lock);
	set->watermark.state = RDM_WATERMARK_READY;
	rdm_lock_release(&set->lock);
}

uint64_t rdm_watermark_turn(struct rdm_slab_set *set)
{
	const struct rdm_watermark *mark = &set->watermark;
	uint64_t turn;

	rdm_lock_take(&set->lock);
	turn = mark->state == RDM_WATERMARK_ASKED || mark->state == RDM_WATERMARK_MORE ?
		       mark->turn :
		       0;
	rdm_lock_release(&set->lock);
	return turn;
}

bool rdm_watermark_is_new(struct rdm_slab_set *set)
{
	bool new;

	rdm_lock_take(&set->lock);
	new = set->watermark.state == RDM_WATERMARK_ASKED;
	rdm_lock_release(&set->lock);
	return new;
}

bool rdm_watermark_answered(struct rdm_slab_set *set, size_t more)
{
	struct rdm_watermark *mark = &set->watermark;
	bool answered;

	rdm_lock_take(&set->lock);
	answered = spare(set) >= mark->bytes && spare(set) - mark->bytes >= more;
	if (answered)
		mark->state = RDM_WATERMARK_READY;
	rdm_lock_release(&set->lock);
	return answered;
}

void rdm_watermark_made(struct rdm_slab_set *set, bool made)
{
	struct rdm_watermark *mark = &set->watermark;

	rdm_lock_take(&set->lock);
	if (!made)
		mark->state = RDM_WATERMARK_STUCK;
	/* A carve may have asked already since the slab is there. */
	else if (mark->state == RDM_WATERMARK_READY && spare(set) < mark->bytes)
		ask(mark, RDM_WATERMARK_MORE);
	rdm_lock_release(&set->lock);
}
