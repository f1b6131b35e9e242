/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/discard.h"

#include <string.h>

#include "base/contract.h"
#include "memory/slab_map.h"
#include "plain/pages.h"
#include "plain/pins.h"
#include "plain/present.h"
#include "slab/fresh.h"
#include "sync/gate.h"

/* Blocks of which the pages are sooner had anew than filled with zeros. */
#define ZERO_BYTES ((size_t)1 << 20)
/* Of which the few pages that were ever touched are sooner found than all are discarded. */
#define SPARSE_BYTES ((size_t)32 << 20)

static bool is_sparse(const struct rdm_run *run)
{
	struct rdm_present few[RDM_PRESENT_FEW];

	return run->size >= SPARSE_BYTES && rdm_present_few(run->at, run->size, few) >= 0;
}

bool rdm_discard_runs(const struct rdm_run *run, size_t count)
{
	bool all = true;

	rdm_assert(rdm_gate_is_inside());
	rdm_assert(run && count);
	/* Once: they are all free, so that no pin that counts can come later. */
	if (rdm_pins_unseen())
		return false;
	for (size_t i = 0; i < count; i++) {
		if (is_sparse(&run[i]))
			continue;
		if (rdm_pins_discard(run[i].at, run[i].size))
			rdm_fresh_begin(run[i].at, run[i].size);
		else
			all = false;
	}
	return all;
}

static bool zero_few(char *block, size_t usable)
{
	struct rdm_present few[RDM_PRESENT_FEW];
	int n = rdm_present_few(block, usable, few);

	for (int i = 0; i < n; i++)
		memset(few[i].addr, 0, few[i].length);
	return n >= 0;
}

/* False: some are as they were. */
static bool zero_pages(char *block, size_t usable)
{
	bool done;

	if (!rdm_gate_enter())
		return false;
	done = (usable >= SPARSE_BYTES && zero_few(block, usable)) ||
	       (!rdm_pins_unseen() && rdm_pins_discard(block, usable));
	rdm_gate_leave();
	return done;
}

void rdm_discard_zero(char *block, size_t size, size_t usable)
{
	rdm_assert(size <= usable);
	rdm_assert(rdm_slab_of(block));
	if (size < ZERO_BYTES || !zero_pages(block, usable))
		memset(block, 0, size);
}

bool rdm_discard_move(void *to, void *from, size_t length)
{
	bool moved;

	rdm_assert(rdm_slab_of(from) && rdm_slab_of(to));
	if (length < RDM_MOVED_BYTES || !rdm_slab_of(from)->set->ops->outlives_fork ||
	    rdm_pins_any(from, length) || rdm_pins_any(to, length))
		return false;
	if (!rdm_gate_enter())
		return false;
	moved = !rdm_pins_unseen() && rdm_pages_move(to, from, length);
	rdm_gate_leave();
	return moved;
}
