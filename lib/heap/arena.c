/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/arena.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/ablate.h"
#include "heap/arena_config.h"
#include "base/contract.h"
#include "base/log.h"
#include "base/size_class.h"
#include "memory/meta.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "sync/gate.h"
#include "sync/late.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

static __thread struct rdm_want noted;

static struct rdm_arena *arena_of(extent_hooks_t *hooks)
{
	return (struct rdm_arena *)(void *)((char *)hooks - offsetof(struct rdm_arena, hooks));
}

static void *hook_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t align, bool *zero,
			bool *commit, unsigned index)
{
	void *run = rdm_slabs_carve(arena_of(hooks)->slabs, at, size, align);

	rdm_assert(rdm_gate_is_inside());
	rdm_assert(size && commit && zero);
	(void)index;
	if (!run) {
		/* Continuing a run in place is a favour, not a need. */
		if (!at)
			noted = (struct rdm_want){ .size = size, .align = align };
		return NULL;
	}
	/* A device or a peer may have written where nothing was allocated. */
	if (*zero)
		memset(run, 0, size);
	*commit = true;
	return run;
}

/* What this thread's purge has released, for one question about all of it. */
#define RELEASED_MAX 32
struct released {
	size_t count;
	struct rdm_run runs[RELEASED_MAX];
};
static __thread struct released *purging;

static void uncarve_released(struct released *released)
{
	size_t count = released->count;

	rdm_assert(released->count <= RELEASED_MAX);
	released->count = 0;
	rdm_slabs_uncarve(released->runs, count);
}

static bool hook_dalloc(extent_hooks_t *hooks, void *run, size_t size, bool committed,
			unsigned index)
{
	struct rdm_run freed = { .at = run, .size = size };

	rdm_assert(rdm_gate_is_inside());
	rdm_assert(run && size);
	(void)hooks;
	(void)committed;
	(void)index;
	if (!purging) {
		rdm_slabs_uncarve(&freed, 1);
		return false;
	}
	purging->runs[purging->count++] = freed;
	if (purging->count == RELEASED_MAX)
		uncarve_released(purging);
	return false;
}

static void hook_destroy(extent_hooks_t *hooks, void *run, size_t size, bool committed,
			 unsigned index)
{
	hook_dalloc(hooks, run, size, committed, index);
}

static bool hook_split(extent_hooks_t *hooks, void *run, size_t size, size_t size_a, size_t size_b,
		       bool committed, unsigned index)
{
	(void)hooks;
	(void)run;
	(void)size;
	(void)size_a;
	(void)size_b;
	(void)committed;
	(void)index;
	return false;
}

/* Across slabs an allocation would need two keys. */
static bool hook_merge(extent_hooks_t *hooks, void *a, size_t size_a, void *b, size_t size_b,
		       bool committed, unsigned index)
{
	(void)hooks;
	(void)size_a;
	(void)size_b;
	(void)committed;
	(void)index;
	return rdm_slab_of(a) != rdm_slab_of(b) && !rdm_ablated(RDM_ABLATE_MERGE);
}

int rdm_arena_init(struct rdm_arena *arena, struct rdm_slab_set *slabs)
{
	struct rdm_arena_config config = { .extent_hooks = &arena->hooks };
	size_t size = sizeof(arena->index), names = 3;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(slabs->ops);
	/* No commit and purge hooks: what is registered stays where it is. */
	arena->hooks = (extent_hooks_t){
		.alloc = hook_alloc,
		.dalloc = hook_dalloc,
		.destroy = hook_destroy,
		.split = hook_split,
		.merge = hook_merge,
	};
	arena->slabs = slabs;
	/* Who is inside the quiesce lock is let in. */
	if (!rdm_gate_enter())
		return ENOTRECOVERABLE;
	error = rdm_je_mallctl("experimental.arenas_create_ext", &arena->index, &size, &config,
			       sizeof(config));
	if (!error)
		error = rdm_je_mallctlnametomib("arena.0.purge", arena->purge, &names);
	rdm_gate_leave();
	arena->purge[1] = arena->index;
	return error;
}

static void command(unsigned index, const char *name)
{
	char path[40];
	int error;

	rdm_assert(rdm_quiesce_is_held());
	snprintf(path, sizeof(path), "arena.%u.%s", index, name);
	if (!rdm_gate_enter())
		return;
	error = rdm_je_mallctl(path, NULL, NULL, NULL, 0);
	rdm_gate_leave();
	if (error)
		rdm_die("jemalloc refuses %s: %s", path, strerror(error));
}

void rdm_arena_destroy(struct rdm_arena *arena)
{
	command(arena->index, "destroy");
}

void rdm_arena_reset(struct rdm_arena *arena)
{
	command(arena->index, "reset");
}

static void deallocate(void *block, unsigned state)
{
	rdm_assert(rdm_gate_is_inside());
	rdm_assert(block);
	if (state & RDM_STATE_DIRECT)
		rdm_slabs_uncarve(
			&(struct rdm_run){ .at = block, .size = rdm_state_block_size(state) }, 1);
	else
		rdm_je_dallocx(block, MALLOCX_TCACHE_NONE);
}

/* jemalloc lets one thread at a time, and others go on without. Taken inside the gate: fork() finds it free. */
static struct rdm_lock purge = RDM_LOCK_INIT(RDM_RANK_PURGE);

static void purge_locked(const struct rdm_arena *arena)
{
	rdm_assert(rdm_lock_is_mine(&purge));
	rdm_assert(rdm_gate_is_inside());
	/* By number: to look the name up would take longer. */
	if (rdm_je_mallctlbymib(arena->purge, 3, NULL, NULL, NULL, 0))
		rdm_die("jemalloc refuses to purge");
}

/* What others have left to whoever was at it, once that one is done. */
static void return_stale_runs(struct rdm_arena *arena)
{
	struct released released = { 0 };

	rdm_assert(rdm_gate_is_inside());
	while (atomic_load(&arena->stale) && rdm_lock_try_inner(&purge)) {
		atomic_store(&arena->stale, false);
		purging = &released;
		purge_locked(arena);
		purging = NULL;
		rdm_lock_release_inner(&purge);
		uncarve_released(&released);
	}
}

/* Runs that were freed inside jemalloc go back to their slabs; who finds another at it leaves it to that one. */
static void return_runs(struct rdm_arena *arena)
{
	atomic_store(&arena->stale, true);
	return_stale_runs(arena);
}

void rdm_arena_free_batch(struct rdm_arena *arena, unsigned class, void *const *blocks,
			  size_t count)
{
	rdm_assert(rdm_gate_is_inside());
	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(blocks && count);
	for (size_t i = 0; i < count; i++)
		deallocate(blocks[i], class);
	return_runs(arena);
}

void rdm_arena_cool(struct rdm_arena *arena)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_arena_purge(arena);
	if (!rdm_gate_enter())
		return;
	rdm_slabs_cool(arena->slabs);
	rdm_gate_leave();
}

void rdm_arena_purge(struct rdm_arena *arena)
{
	struct released released = { 0 };

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!purging);
	if (!rdm_gate_enter())
		return;
	rdm_lock_take_inner(&purge);
	purging = &released;
	purge_locked(arena);
	purging = NULL;
	rdm_lock_release_inner(&purge);
	uncarve_released(&released);
	rdm_gate_leave();
}

void rdm_arena_free_many(struct rdm_arena *arena, unsigned class, void *const *blocks, size_t count)
{
	struct released released = { 0 };
	bool locked;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(blocks || !count);
	if (!rdm_gate_try()) {
		while (count)
			rdm_late_put(blocks[--count], RDM_LATE_BLOCK, class);
		return;
	}
	locked = rdm_lock_try_inner(&purge);
	purging = locked ? &released : NULL;
	while (count) {
		deallocate(blocks[--count], class);
		if (locked)
			purge_locked(arena);
	}
	purging = NULL;
	if (locked)
		rdm_lock_release_inner(&purge);
	uncarve_released(&released);
	return_stale_runs(arena);
	rdm_gate_leave();
}

/* False: not now. */
static bool allocate(size_t size, int flags, void **block, size_t *usable)
{
	if (!rdm_gate_enter())
		return false;
	*block = rdm_je_mallocx(size, flags);
	*usable = *block ? rdm_je_nallocx(size, flags) : 0;
	rdm_gate_leave();
	return true;
}

/*
 * In a dying thread, after jemalloc's own destructor has run, jemalloc serves
 * arena 0 whatever one asks for: those callers get whole pages from the slab.
 */
static void *alloc_direct(struct rdm_arena *arena, size_t size, size_t align, unsigned *state,
			  struct rdm_want *want)
{
	unsigned class = rdm_class_of(size);
	void *run;

	rdm_assert(size && size <= RDM_SIZE_MAX);
	size = rdm_class_size(class);
	if (!rdm_gate_enter()) {
		want->elsewhere = true;
		return NULL;
	}
	run = rdm_slabs_carve(arena->slabs, NULL, size, align);
	rdm_gate_leave();
	if (!run)
		*want = (struct rdm_want){ .size = size, .align = align };
	*state = class | RDM_STATE_DIRECT;
	return run;
}

void *rdm_arena_alloc(struct rdm_arena *arena, size_t size, size_t align, unsigned *state,
		      struct rdm_want *want)
{
	int flags = MALLOCX_ARENA(arena->index) | MALLOCX_TCACHE_NONE;
	size_t usable;
	void *block;

	rdm_assert(size <= RDM_SIZE_MAX);
	rdm_assert(align && !(align & (align - 1)));
	rdm_assert(state && want);
	if (align > RDM_UNIT)
		flags |= MALLOCX_LG_ALIGN(__builtin_ctzl(align));
	*want = noted = (struct rdm_want){ 0 };
	size = rdm_class_size(rdm_class_of(size));
	if (!allocate(size, flags, &block, &usable)) {
		want->elsewhere = true;
		return NULL;
	}
	if (!block) {
		*want = noted;
		return NULL;
	}
	if (!rdm_reserve_has(block)) {
		rdm_meta_free(block);
		return alloc_direct(arena, size, align, state, want);
	}
	*state = rdm_class_of(usable);
	return block;
}

bool rdm_arena_resize(void *block, unsigned class)
{
	size_t size = rdm_class_size(class);
	size_t got;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	if (!rdm_gate_enter())
		return false;
	got = rdm_je_xallocx(block, size, 0, MALLOCX_TCACHE_NONE);
	rdm_gate_leave();
	return got == size;
}

void rdm_arena_free(void *block, unsigned state)
{
	rdm_assert(block);
	if (!rdm_gate_try()) {
		rdm_late_put(block, RDM_LATE_BLOCK, state);
		return;
	}
	deallocate(block, state);
	rdm_gate_leave();
}
