/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"
#include "base/size_class.h"
#include "heap/arena.h"
#include "heap/trade.h"
#include "memory/keys.h"
#include "memory/meta.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "pool/foreign_index.h"
#include "pool/growth.h"
#include "pool/pool.h"
#include "pool/publish.h"
#include "rdmalloc.h"
#include "slab/fresh.h"

/* As the program calls it: under the preload it knows no others. */
#ifdef RDM_PRELOAD
#define CALLED(name) #name
#else
#define CALLED(name) "rdm_" #name
#endif

static void *fail(int error)
{
	errno = error;
	return NULL;
}

/* One line for a block that a magazine has twice, or that has an owner already. */
__attribute__((noreturn, cold)) static void die_of_two_owners(const void *block)
{
	rdm_die("%p is free and allocated at once: two threads freed it at the same instant, or "
		"somebody wrote into rdmalloc's own records",
		block);
}

static inline void *begin(void *block, size_t class)
{
	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(!((uintptr_t)block & (RDM_UNIT - 1)));
	if (__builtin_expect(!rdm_state_begin(block, class), 0))
		die_of_two_owners(block);
	return block;
}

/* What of a size is asked for, and that all of it is. */
struct request {
	size_t size, align;
	bool zero;
	const char *caller;
};

/* Of a block that others had. */
static void clear(const struct rdm_pool *pool, void *block, size_t size)
{
	const struct rdm_slab_ops *ops = pool->slabs.ops;

	if (ops->zero)
		ops->zero(block, size, rdm_state_block_size(rdm_state_peek(block)));
	else
		memset(block, 0, size);
}

static void *begin_from_arena(void *block, unsigned state, const struct request *request)
{
	rdm_assert(state);
	rdm_state_set(block, state);
	if (request->zero)
		rdm_fresh_end_zero(block, request->size, rdm_state_block_size(state));
	else
		rdm_fresh_end(block, rdm_state_block_size(state));
	return block;
}

/* `size` may be more than is asked for. */
static void *allocate_from_arena(struct rdm_pool *pool, size_t size, const struct request *request)
{
	size_t align = request->align;
	bool rests = rdm_growth_rests(pool);

	rdm_assert(align && !(align & (align - 1)));
	if (rests && !rdm_growth_has_regained(pool, size))
		return fail(ENOMEM);
	for (unsigned attempt = 0;; attempt++) {
		unsigned generation = rdm_pool_generation(pool);
		struct rdm_want want;
		unsigned state;
		void *block;

		if (atomic_load_explicit(&pool->heap.inherited, memory_order_relaxed))
			want = (struct rdm_want){ .size = 1, .align = align };
		else if ((block = rdm_arena_alloc(&pool->heap.arena, size, align, &state, &want)))
			return begin_from_arena(block, state, request);
		if (want.elsewhere)
			return fail(EAGAIN);
		if (!want.size) {
			rdm_blame(RDM_LOG_ERROR, &rdm_meta_failure,
				  "pool %s: no memory for jemalloc's own records", pool->name);
			return fail(ENOMEM);
		}
		if (rests)
			return fail(ENOMEM);
		if (rdm_pool_grow(pool, &want, generation, attempt, request->caller))
			return NULL;
	}
}

static void *allocate(struct rdm_pool *pool, const struct request *request)
{
	bool inherited = atomic_load_explicit(&pool->heap.inherited, memory_order_relaxed);
	size_t size = request->size, align = request->align;
	/* Up to a page, classes that are multiples of the alignment have it. */
	size_t padded = ((size ? size : 1) + align - 1) & ~(align - 1);
	void *block = NULL;

	if (__builtin_expect(atomic_load_explicit(&rdm_publish_due, memory_order_relaxed), 0) &&
	    !inherited)
		rdm_publish_resume();
	if (!inherited && align <= (size_t)1 << rdm_state.page_shift) {
		size = padded;
		block = rdm_trade_alloc(&pool->heap, rdm_class_of(size));
	}
	if (!block)
		return allocate_from_arena(pool, size, request);
	begin(block, rdm_class_of(size));
	if (request->zero)
		clear(pool, block, request->size);
	return block;
}

static void *allocate_request(struct rdm_pool *pool, const struct request *request)
{
	if (!rdm_pool_check(pool, request->caller))
		return NULL;
	if (request->size > RDM_SIZE_MAX || request->align > RDM_SIZE_MAX) {
		rdm_log(RDM_LOG_ERROR, "%s: %zu bytes aligned to %zu is more than any pool serves",
			request->caller, request->size, request->align);
		return fail(ENOMEM);
	}
	return allocate(pool, request);
}

__attribute__((noinline)) static void *allocate_checked(struct rdm_pool *pool, size_t size,
							size_t align, const char *caller)
{
	struct request request = { .size = size, .align = align, .caller = caller };

	return allocate_request(pool, &request);
}

/* Without a call where the thread has a block, with all checks where it has not. */
__attribute__((always_inline)) static inline void *allocate_quickly(struct rdm_pool *pool,
								    size_t size, const char *caller)
{
	size_t class = rdm_class_of_bytes(size);
	void *block;

	if (__builtin_expect(pool && class <= rdm_quick_classes(), 1)) {
		block = rdm_cache_pop(&pool->heap, rdm_heap_place(&pool->heap), class);
		if (__builtin_expect(block != NULL, 1))
			return begin(block, class);
	}
	return allocate_checked(pool, size, RDM_UNIT, caller);
}

void *rdm_malloc(rdm_pool *pool, size_t size)
{
	return allocate_quickly(pool, size, CALLED(malloc));
}

void *rdm_calloc(rdm_pool *pool, size_t count, size_t size)
{
	struct request request = { .align = RDM_UNIT, .zero = true, .caller = CALLED(calloc) };
	size_t class;
	void *block;

	/* Saturated, it is refused like any size that is too large. */
	if (__builtin_mul_overflow(count, size, &request.size))
		request.size = SIZE_MAX;
	class = rdm_class_of_bytes(request.size);
	block = pool && class <= rdm_quick_classes() ?
			rdm_cache_pop(&pool->heap, rdm_heap_place(&pool->heap), class) :
			NULL;
	if (!block)
		return allocate_request(pool, &request);
	begin(block, class);
	clear(pool, block, request.size);
	return block;
}

void *rdm_aligned_alloc(rdm_pool *pool, size_t alignment, size_t size)
{
	if (!alignment || alignment & (alignment - 1)) {
		rdm_log(RDM_LOG_ERROR,
			CALLED(aligned_alloc) ": alignment %zu is not a power of two", alignment);
		return fail(EINVAL);
	}
	return allocate_checked(pool, size, alignment < RDM_UNIT ? RDM_UNIT : alignment,
				CALLED(aligned_alloc));
}

/* Finds the block around p for the line that explains a bad pointer. */
static const char *find_owner(const char *p, const char *slab_base, unsigned *state)
{
	const char *unit = (const char *)((uintptr_t)p & ~(RDM_UNIT - 1));

	rdm_assert(p >= slab_base);
	for (; unit >= slab_base; unit -= RDM_UNIT) {
		*state = rdm_state_peek(unit);
		if (*state)
			return unit + rdm_state_block_size(*state) > p ? unit : NULL;
	}
	return NULL;
}

__attribute__((noreturn, cold)) static void die_of(const char *caller, const void *p)
{
	const struct rdm_slab *slab = rdm_slab_of(p);
	const char *owner;
	unsigned state;

	if (!slab)
		rdm_die("%s(%p): not a pointer of any pool: it came from another allocator, or "
			"its slab was returned since",
			caller, p);
	owner = find_owner(p, slab->base, &state);
	if (owner)
		rdm_die("%s(%p): inside a block: %zu bytes into %p, which has %zu", caller, p,
			(size_t)((const char *)p - owner), (const void *)owner,
			rdm_state_block_size(state));
	rdm_die("%s(%p): not allocated in pool %s: it was freed already", caller, p,
		slab->set->pool->name);
}

/* For a block that has ended. */
__attribute__((noinline)) static void free_to_heap(struct rdm_heap *heap, void *ptr, size_t class)
{
	int saved = errno;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	if (atomic_load(&heap->inherited))
		rdm_arena_free(ptr, (unsigned)class);
	else
		rdm_trade_free(heap, (unsigned)class, ptr);
	errno = saved;
}

static inline void end(struct rdm_heap *heap, void *ptr, size_t class)
{
	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(rdm_slab_of(ptr)->heap == heap);
	if (__builtin_expect(!rdm_cache_push(heap, rdm_heap_place(heap), class, ptr), 0))
		free_to_heap(heap, ptr, class);
}

/* With all checks, and any kind of block. */
__attribute__((noinline)) static void free_slowly(void *ptr)
{
	const struct rdm_slab *slab = rdm_slab_of(ptr);
	unsigned state = slab ? rdm_state_peek(ptr) : 0;
	int saved = errno;

	if (!ptr)
		return;
	if (!state)
		die_of(CALLED(free), ptr);
	rdm_state_set(ptr, 0);
	if (state & RDM_STATE_DIRECT)
		rdm_arena_free(ptr, state);
	else
		free_to_heap(slab->heap, ptr, state);
	errno = saved;
}

/* Whoever has a block has seen that the reserve is open, and there is a slab where a state is. */
void rdm_free(void *ptr)
{
	uintptr_t unit = rdm_reserve_units(ptr);

	if (__builtin_expect(unit < rdm_quick_units(), 1)) {
		size_t state = rdm_state_take(ptr);

		if (__builtin_expect((int8_t)state > 0, 1)) {
			end(rdm_slab_map_at_unit(unit)->heap, ptr, state);
			return;
		}
	}
	free_slowly(ptr);
}

__attribute__((noinline, cold)) static void free_other(void *ptr, size_t size)
{
	const struct rdm_slab *slab = rdm_slab_of(ptr);
	unsigned class = rdm_class_of(size);
	unsigned state = slab ? rdm_state_peek(ptr) : 0;

	if (!state)
		die_of(CALLED(free_sized), ptr);
	if (class != (state & ~(unsigned)RDM_STATE_DIRECT))
		rdm_die(CALLED(free_sized) "(%p, %zu): the block has %zu bytes, one of that size has "
					   "%zu",
			ptr, size, rdm_state_block_size(state), rdm_class_size(class));
	rdm_free(ptr);
}

void rdm_free_sized(void *ptr, size_t size)
{
	uintptr_t unit = rdm_reserve_units(ptr);
	size_t class = rdm_class_of_bytes(size);

	if (__builtin_expect(unit < rdm_quick_units() && rdm_state_end(ptr, class), 1)) {
		end(rdm_slab_map_at_unit(unit)->heap, ptr, class);
		return;
	}
	if (ptr)
		free_other(ptr, size);
}

/* Blocks for which that is worth it are whole pages, whatever is used of the last one. */
static bool move_pages(const struct rdm_slab_ops *ops, void *to, void *from, size_t length)
{
	size_t page = (size_t)1 << rdm_state.page_shift;

	return ops->move && ops->move(to, from, (length + page - 1) & ~(page - 1));
}

static void *move(struct rdm_pool *pool, void *ptr, size_t old, size_t size)
{
	struct request request = { .size = size, .align = RDM_UNIT, .caller = CALLED(realloc) };
	void *block = allocate(pool, &request);

	rdm_assert(old);
	if (!block)
		return NULL;
	if (old > size)
		old = size;
	if (!move_pages(pool->slabs.ops, block, ptr, old))
		memcpy(block, ptr, old);
	rdm_free(ptr);
	return block;
}

/*
 * Only blocks of whole pages change their size where they are. The state never
 * claims more than the block has: somebody else may get what a shrink leaves.
 */
static bool resize(void *ptr, unsigned state, unsigned class)
{
	bool shrink = class < state;

	rdm_assert(class && state);
	if (state & RDM_STATE_DIRECT || !(rdm_class_size(class) >> rdm_state.page_shift))
		return false;
	if (shrink)
		rdm_state_set(ptr, class);
	if (rdm_arena_resize(ptr, class)) {
		rdm_fresh_end(ptr, rdm_class_size(class));
		rdm_state_set(ptr, class);
		return true;
	}
	if (shrink)
		rdm_state_set(ptr, state);
	return false;
}

void *rdm_realloc(rdm_pool *pool, void *ptr, size_t size)
{
	unsigned class = rdm_class_of(size);
	struct rdm_slab *slab;
	unsigned state;

	if (!ptr)
		return allocate_checked(pool, size, RDM_UNIT, CALLED(realloc));
	slab = rdm_slab_of(ptr);
	state = slab ? rdm_state_peek(ptr) : 0;
	if (!state)
		die_of(CALLED(realloc), ptr);
	if (pool && slab->set->pool != pool) {
		rdm_log(RDM_LOG_ERROR, CALLED(realloc) ": %p belongs to pool %s, not to %s", ptr,
			slab->set->pool->name,
			rdm_pool_check(pool, CALLED(realloc)) ? pool->name : "any");
		return fail(EINVAL);
	}
	pool = slab->set->pool;
	if (!class)
		return allocate_checked(pool, size, RDM_UNIT, CALLED(realloc));
	if (class == (state & ~(unsigned)RDM_STATE_DIRECT))
		return ptr;
	if (!atomic_load_explicit(&pool->heap.inherited, memory_order_relaxed) &&
	    resize(ptr, state, class))
		return ptr;
	return move(pool, ptr, rdm_state_block_size(state), size);
}

size_t rdm_usable_size(const void *ptr)
{
	unsigned state = rdm_slab_of(ptr) ? rdm_state_peek(ptr) : 0;

	if (state)
		return rdm_state_block_size(state);
	errno = EINVAL;
	return 0;
}

rdm_pool *rdm_pool_of(const void *ptr)
{
	struct rdm_slab *slab = rdm_slab_of(ptr);

	return slab ? slab->set->pool : fail(EINVAL);
}

__attribute__((noinline, cold)) static int refuse(int error)
{
	errno = error;
	return -1;
}

/* For what is no block of ours, and in a child, where the tables are the parent's. */
__attribute__((noinline)) static int key_slowly(const void *ptr, size_t rail, struct rdm_key *key)
{
	const struct rdm_slab *slab = rdm_slab_of(ptr);

	if (!slab) {
		int error = rdm_foreign_key(ptr, rail, key);

		return error ? refuse(error) : 0;
	}
	if (atomic_load(&slab->heap->inherited))
		errno = ECHILD;
	else if (rail >= RDM_RAILS_MAX || !(atomic_load(&slab->keyed) >> rail & 1))
		errno = ENOENT;
	else {
		const struct rdm_mr *mr = &slab->mr[rail];

		*key = (struct rdm_key){ .lkey = mr->lkey,
					 .rkey = mr->rkey,
					 .handle = mr->handle,
					 .base = slab->base,
					 .length = slab->length };
		return 0;
	}
	return -1;
}

int rdm_key(const void *ptr, int rail, struct rdm_key *key)
{
	uintptr_t distance = rdm_reserve_distance(ptr);
	size_t index = (unsigned)rail;

	if (__builtin_expect(!key, 0))
		return refuse(EINVAL);
	if (__builtin_expect(index < RDM_RAILS_MAX, 1) &&
	    __builtin_expect(distance < rdm_keys_reach(), 1) && rdm_keys_get(distance, index, key))
		return 0;
	return key_slowly(ptr, index, key);
}
