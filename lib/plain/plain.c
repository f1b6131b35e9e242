/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/plain.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "api/create.h"
#include "base/contract.h"
#include "fork/fork.h"
#include "fork/snapshot.h"
#include "memory/meta.h"
#include "memory/prepare.h"
#include "memory/reserve.h"
#include "memory/state.h"
#include "plain/discard.h"
#include "plain/inherit.h"
#include "plain/notes.h"
#include "plain/page_pins.h"
#include "plain/pages.h"
#include "plain/pins.h"
#include "pool/picture_layout.h"
#include "sync/quiesce.h"

/* Programs without much large memory have few addresses for it, others few slabs. */
#define SLAB_LEAST RDM_GRANULE
#define SLAB_MOST ((size_t)32 << 20)
/* Of larger blocks only pages are kept, which serve any size. */
#define KEPT ((size_t)1 << 20)

static int map_heritable(const struct rdm_slab_set *set, void *addr, size_t length, size_t slab,
			 enum rdm_log_level level)
{
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	(void)set;
	(void)slab;
	(void)level;
	return rdm_pages_map(addr, length);
}

static int map_dontfork(const struct rdm_slab_set *set, void *addr, size_t length, size_t slab,
			enum rdm_log_level level)
{
	int error = map_heritable(set, addr, length, slab, level);

	return error ? error : rdm_prepare_dontfork(addr, length);
}

/* Its blocks have been freed, but a device may still have them. */
static bool is_in_use(const struct rdm_slab *slab)
{
	return rdm_pins_any(slab->base, slab->length) || rdm_pins_unseen();
}

static size_t pinned_bytes(const struct rdm_slab *slab)
{
	const uint16_t *pins = atomic_load_explicit(&slab->pins, memory_order_acquire);
	size_t pages = 0;

	for (size_t i = 0; pins && i < slab->pages; i++)
		pages += __atomic_load_n(&pins[i], __ATOMIC_RELAXED) != 0;
	return pages << rdm_state.page_shift;
}

static void forget(struct rdm_slab *slab)
{
	rdm_assert(slab->free_pages == slab->pages);
	rdm_page_pins_free(slab);
	rdm_notes_forget(slab);
}

#define PLAIN_OPS                                                                                 \
	.is_in_use = is_in_use, .forget = forget, .pinned_bytes = pinned_bytes,                   \
	.uncarved = rdm_notes_settle_runs, .discard = rdm_discard_runs, .zero = rdm_discard_zero, \
	.move = rdm_discard_move, .spills = true

static const struct rdm_slab_ops heritable_ops = {
	PLAIN_OPS,
	.map = map_heritable,
	.prefork = rdm_inherit_prefork,
	.copy = rdm_inherit_copy_pinned,
	.postfork_parent = rdm_inherit_postfork_parent,
	.postfork_child = rdm_inherit_postfork_child,
	.outlives_fork = true,
	.picture_flags = RDM_PICTURE_POOL_PLAIN | RDM_PICTURE_POOL_HERITABLE,
};

/* As of any pool, but what nobody has touched is not copied. */
static const struct rdm_slab_ops closed_ops = {
	PLAIN_OPS,
	.map = map_dontfork,
	.prefork = rdm_snapshot_prefork,
	.copy = rdm_inherit_copy_all,
	.postfork_parent = rdm_snapshot_postfork_parent,
	.postfork_child = rdm_snapshot_postfork_child,
	.picture_flags = RDM_PICTURE_POOL_PLAIN,
};

static const struct rdm_fork_guest pins_handlers = {
	.try_lock = rdm_pins_try_for_fork,
	.unlock = rdm_pins_unlock_for_fork,
	.prefork = rdm_pins_prefork,
	.postfork_child = rdm_pins_postfork_child,
};

/* Before there are threads. */
__attribute__((constructor(101))) static void invite(void)
{
	rdm_fork_invite(&pins_handlers);
}

static void configure(struct rdm_pool *pool, const char *name, enum rdm_fork_policy fork)
{
	pool->slab_least = SLAB_LEAST;
	pool->slab_size = SLAB_MOST;
	pool->heap.kept_max = KEPT;
	pool->heap.returns = true;
	pool->slabs.ops = fork == RDM_FORK_DEFAULT ? &heritable_ops : &closed_ops;
	pool->slabs.kind = (struct rdm_memory_kind){
		.backing = RDM_BACKING_ANON,
		.pages = RDM_PAGES_BEST,
		.node = -1,
	};
	pool->slabs.fork = fork;
	snprintf(pool->name, sizeof(pool->name), "%s", name);
}

static struct rdm_pool *create(const char *name, enum rdm_fork_policy fork, int *error)
{
	struct rdm_pool *pool = rdm_pool_new();

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!rdm_pools());
	*error = ENOMEM;
	if (!pool)
		return NULL;
	configure(pool, name, fork);
	*error = rdm_pool_open(pool);
	if (!*error)
		return pool;
	rdm_meta_free(pool);
	return NULL;
}

struct rdm_pool *rdm_plain_pool(const char *name, enum rdm_fork_policy fork)
{
	struct rdm_pool *pool;
	int error = 0;

	if (!rdm_quiesce_enter_unless_forking("rdm_plain_pool"))
		return NULL;
	pool = rdm_pools() ? rdm_pools() : create(name, fork, &error);
	return rdm_quiesce_leave(error) ? NULL : pool;
}
