/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/bare_fork.h"

#include <sched.h>

#include "base/contract.h"
#include "base/log.h"
#include "plain/inherit.h"
#include "plain/pins.h"
#include "pool/pool.h"
#include "sync/interrupted.h"
#include "sync/lock.h"

/* A pool that outlives forks is the only one there is, and it stays. */
static struct rdm_slab_set *only_set(void)
{
	struct rdm_pool *pool = rdm_pools();

	return pool && pool->slabs.ops->outlives_fork ? &pool->slabs : NULL;
}

static bool try_locks(struct rdm_slab_set *set)
{
	if (!rdm_slabs_trylock(set))
		return false;
	if (rdm_pins_try_prefork())
		return true;
	rdm_slabs_unlock(set);
	return false;
}

bool rdm_bare_fork_prefork(const void *stack)
{
	struct rdm_slab_set *set = only_set();

	if (!set || !rdm_pins_exist())
		return false;
	for (unsigned i = 0; !try_locks(set); i++) {
		if (i >= RDM_LOCK_TRIES && rdm_call_is_interrupted()) {
			rdm_log(RDM_LOG_WARN,
				"a process is made in a signal handler that interrupted rdmalloc: it "
				"gets holes where memory is registered");
			return false;
		}
		sched_yield();
	}
	rdm_pins_spare(stack);
	rdm_inherit_prefork(set);
	return true;
}

void rdm_bare_fork_postfork(bool child)
{
	struct rdm_slab_set *set = only_set();

	rdm_assert(set);
	if (child)
		rdm_lock_adopt(&set->lock);
	rdm_assert(rdm_lock_is_mine(&set->lock));
	if (child) {
		rdm_inherit_postfork_child(set);
		rdm_pins_postfork_child();
	} else {
		rdm_inherit_postfork_parent(set);
		rdm_pins_postfork_parent();
	}
	rdm_slabs_unlock(set);
}
