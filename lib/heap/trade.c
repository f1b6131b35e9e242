/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/trade.h"

#include <string.h>

#include "base/clock.h"
#include "base/contract.h"
#include "heap/arena.h"
#include "heap/caches.h"
#include "heap/excess.h"
#include "heap/heap.h"
#include "heap/settle.h"
#include "sync/gate.h"
#include "sync/late.h"

/* What a class may have at first, if a block is not larger. */
#define FIRST_BYTES ((size_t)16 << 10)

/* What a class may come to have though its blocks only come. */
#define SMALL_BYTES ((size_t)64 << 10)

/* A class that trades less often than once in so many milliseconds is served as well by the depot. */
#define TRADE_MS 10
/* So many trades that came sooner than that are not by chance. */
#define TRADES 8

/* What a thread takes from the depot to the arena at a time. */
#define WEEDS 32

static void load(struct rdm_stack *stack, struct rdm_magazine *magazine, size_t blocks)
{
	rdm_assert(!stack->floor);
	rdm_assert(magazine->count <= blocks);
	rdm_assert(blocks && blocks <= RDM_MAGAZINE_BLOCKS);
	stack->floor = magazine->blocks;
	stack->ceiling = magazine->blocks + blocks;
	atomic_store_explicit(&stack->top, magazine->blocks + magazine->count,
			      memory_order_relaxed);
}

/* Of a magazine. As much as is held at once: programs call on small stacks. */
#define HALF ((RDM_MAGAZINE_BLOCKS + 1) / 2)

/* What has to be done after leave. */
struct chores {
	struct rdm_magazine *evicted; /* of the class `evicted_class`, or NULL */
	unsigned evicted_class;
	struct rdm_magazine *full; /* of the class itself, or NULL */
	size_t count;              /* of blocks that belong to the depot */
	void *blocks[HALF];
};

static void no_chores(struct chores *chores)
{
	chores->evicted = chores->full = NULL;
	chores->count = 0;
}

/* Makes the next class give way that nobody has used for a round, or, if need be, any. */
static void evict(struct rdm_cache *cache, unsigned class, bool any, struct chores *chores)
{
	struct rdm_stack *stack;
	void **top;

	rdm_assert(cache->hand <= RDM_CLASS_MAX);
	cache->hand = cache->hand % RDM_CLASS_MAX + 1;
	stack = &cache->stacks[cache->hand];
	top = atomic_load_explicit(&stack->top, memory_order_relaxed);
	if (cache->hand == class || !stack->floor)
		return;
	if (any || stack->seen == top) {
		chores->evicted_class = cache->hand;
		chores->evicted = rdm_cache_unload(cache, cache->hand);
	}
	stack->seen = top;
}

/* Whether a class that trades does so often. */
static bool trades_often(struct rdm_cache *cache, unsigned class)
{
	uint32_t now = rdm_clock_ms();
	uint32_t *due = &cache->due[class];

	rdm_assert(class && class <= RDM_CLASS_MAX);
	/* It is past, which is what a clock that wraps around says by a large difference. */
	if (*due - now > (TRADES + 1) * TRADE_MS)
		*due = now;
	if (*due - now > TRADES * TRADE_MS)
		return true;
	*due += TRADE_MS;
	return false;
}

/* Bytes that the thread's stacks may still be given. */
static size_t room_of(const struct rdm_cache *cache)
{
	size_t held = atomic_load_explicit(cache->held, memory_order_relaxed);

	rdm_assert(cache->home);
	return held < rdm_cache_budget ? rdm_cache_budget - held : 0;
}

/* Lets a stack of a busy class have up to twice as many blocks, as far as there is room. */
static bool grow(struct rdm_cache *cache, unsigned class)
{
	struct rdm_stack *stack = &cache->stacks[class];
	size_t size = rdm_class_size(class);
	size_t more = rdm_stack_allowance(stack), room = room_of(cache);

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(more && more <= RDM_MAGAZINE_BLOCKS);
	if (more == RDM_MAGAZINE_BLOCKS || room < size || !trades_often(cache, class))
		return false;
	if (more > RDM_MAGAZINE_BLOCKS - more)
		more = RDM_MAGAZINE_BLOCKS - more;
	if (more * size > room)
		more = room / size;
	stack->ceiling += more;
	rdm_cache_count(cache, more * size);
	return true;
}

/* Takes the lower half, which is what was not used for longest. */
static void spill(struct rdm_stack *stack, struct chores *chores)
{
	void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);
	size_t count = (size_t)(top - stack->floor);
	size_t half = (count + 1) / 2;

	rdm_assert(count && count <= RDM_MAGAZINE_BLOCKS);
	memcpy(chores->blocks, stack->floor, half * sizeof(void *));
	memmove(stack->floor, stack->floor + half, (count - half) * sizeof(void *));
	atomic_store_explicit(&stack->top, top - half, memory_order_relaxed);
	chores->count = half;
}

static struct rdm_cache *cache_of(struct rdm_heap *heap)
{
	size_t place = rdm_heap_place(heap);
	struct rdm_cache *hot = rdm_quick_classes() ? rdm_tls_hot(place) : rdm_tls.hot[place];

	/* Not its home: that is the registry's, and its heap may be on its way out. */
	if (atomic_load_explicit(&hot->heap, memory_order_acquire) == heap)
		return hot;
	return rdm_caches_of(heap);
}

/* For blocks that no cache takes. */
static void put_in_depot(struct rdm_heap *heap, unsigned class, void **blocks, size_t count)
{
	size_t put = rdm_depot_put(&heap->depot, class, blocks, count);

	rdm_assert(blocks && count);
	for (; put < count; put++)
		rdm_arena_free(blocks[put], class);
	rdm_excess_return(heap, class);
}

static void put_magazine(struct rdm_heap *heap, unsigned class, struct rdm_magazine *magazine)
{
	bool empty = !magazine->count;

	rdm_depot_put_magazine(&heap->depot, class, magazine);
	if (!empty)
		rdm_excess_return(heap, class);
}

/* What nobody wants of the depot goes to the arena, a little at a time. */
static void weed(struct rdm_heap *heap)
{
	void *blocks[WEEDS];
	unsigned class;
	size_t count = rdm_depot_weed(&heap->depot, &class, blocks, WEEDS);

	if (count)
		rdm_arena_free_many(&heap->arena, class, blocks, count);
}

static void do_chores(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class,
		      struct chores *chores)
{
	if (chores->evicted)
		put_magazine(heap, chores->evicted_class, chores->evicted);
	if (chores->full)
		put_magazine(heap, class, chores->full);
	if (chores->count)
		put_in_depot(heap, class, chores->blocks, chores->count);
	/* To look at the clock is dear beside the rest. */
	if (!(++cache->chores % 8)) {
		weed(heap);
		rdm_caches_look(heap);
	}
}

/* Loads a magazine for so many blocks, others give way. False: locked, loaded already, or no room. */
static bool load_in_turn(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class,
			 struct rdm_magazine *magazine, size_t blocks)
{
	size_t bytes = blocks * rdm_class_size(class);

	rdm_assert(magazine && blocks);
	for (unsigned tried = 0;; tried++) {
		bool entered = rdm_cache_enter(cache, heap) && !cache->stacks[class].floor;
		bool has_room = entered && bytes <= room_of(cache);
		struct chores chores;

		no_chores(&chores);
		if (has_room) {
			load(&cache->stacks[class], magazine, blocks);
			rdm_cache_count(cache, bytes);
		} else if (entered) {
			evict(cache, class, tried > RDM_CLASS_MAX, &chores);
		}
		rdm_cache_leave(cache);
		do_chores(cache, heap, class, &chores);
		/* A signal handler leaves alone what it interrupted, which may be all that is held. */
		if (has_room || !entered || tried > 2 * RDM_CLASS_MAX)
			return has_room;
		/* What is idle here gives way first, then what other heaps have, too. */
		if (tried >= RDM_CLASS_MAX)
			rdm_caches_relieve(cache);
	}
}

/* How many blocks a class may have at first; 0: none at all. */
static size_t first_allowance(struct rdm_cache *cache, unsigned class)
{
	size_t size = rdm_class_size(class);
	size_t most = rdm_cache_budget < FIRST_BYTES ? rdm_cache_budget : FIRST_BYTES;
	bool often = trades_often(cache, class);
	size_t blocks = size > most ? size <= rdm_cache_budget && often : most / size;

	return blocks < RDM_MAGAZINE_BLOCKS ? blocks : RDM_MAGAZINE_BLOCKS;
}

/* Gives a class a magazine for so many blocks. */
static bool equip(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class, size_t blocks)
{
	struct rdm_magazine *magazine = blocks ? rdm_depot_take_empty(&heap->depot) : NULL;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	if (!magazine)
		return false;
	if (load_in_turn(cache, heap, class, magazine, blocks))
		return true;
	rdm_depot_put_magazine(&heap->depot, class, magazine);
	return false;
}

/* What the depot has not is not in use again and again; it matters where free memory goes back. */
static bool is_drawn(const struct rdm_heap *heap, unsigned class)
{
	return !heap->returns || rdm_depot_has(&heap->depot, class);
}

/* Pops a block, or says how many to ask the depot for; 0: the class has no magazine. */
static void *pop_or_ask(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class,
			size_t *wanted)
{
	struct rdm_stack *stack = &cache->stacks[class];
	void *block = NULL;

	*wanted = 0;
	if (rdm_cache_enter(cache, heap) && stack->floor) {
		block = rdm_stack_pop(stack);
		if (!block) {
			cache->drawn[class] = is_drawn(heap, class);
			if (cache->drawn[class])
				grow(cache, class);
			*wanted = rdm_stack_allowance(stack);
			/* Half a stack leaves room for frees; whole magazines change hands easily. */
			if (*wanted < RDM_MAGAZINE_BLOCKS)
				*wanted = (*wanted + 1) / 2;
		}
	}
	rdm_cache_leave(cache);
	return block;
}

/* Puts blocks on a stack; how many it has taken. */
static size_t stock(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class, void **blocks,
		    size_t count)
{
	struct rdm_stack *stack = &cache->stacks[class];
	size_t taken = 0;

	rdm_assert(count);
	if (rdm_cache_enter(cache, heap) && stack->floor) {
		void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);
		size_t room = (size_t)(stack->ceiling - top);

		taken = count < room ? count : room;
		memcpy(top, blocks, taken * sizeof(blocks[0]));
		atomic_store_explicit(&stack->top, top + taken, memory_order_relaxed);
	}
	rdm_cache_leave(cache);
	return taken;
}

/* Puts a magazine of the depot in place of an empty one, and pops a block. */
static void *reload(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class)
{
	struct rdm_magazine *magazine = rdm_depot_take_magazine(&heap->depot, class);
	struct rdm_stack *stack = &cache->stacks[class];
	void *block = NULL;

	if (!magazine)
		return NULL;
	if (rdm_cache_enter(cache, heap) && stack->floor) {
		struct rdm_magazine *empty = rdm_cache_unload(cache, class);

		load(stack, magazine, RDM_MAGAZINE_BLOCKS);
		rdm_cache_count(cache, RDM_MAGAZINE_BLOCKS * rdm_class_size(class));
		block = rdm_stack_pop(stack);
		magazine = empty;
	}
	rdm_cache_leave(cache);
	rdm_depot_put_magazine(&heap->depot, class, magazine);
	return block;
}

static void *trade_alloc(struct rdm_heap *heap, unsigned class)
{
	struct rdm_cache *cache;
	void *blocks[HALF];
	size_t wanted = 0, count, stocked;
	void *block;

	cache = cache_of(heap);
	block = cache ? pop_or_ask(cache, heap, class, &wanted) : NULL;
	if (!block && wanted > RDM_MAGAZINE_BLOCKS / 2)
		block = reload(cache, heap, class);
	if (block)
		return block;
	if (wanted > HALF)
		wanted = HALF;
	count = rdm_depot_take(&heap->depot, class, blocks, wanted ? wanted : 1);
	if (!count)
		return NULL;
	/* Where blocks come from the depot more will be wanted. */
	if (cache && !wanted)
		equip(cache, heap, class, first_allowance(cache, class));
	stocked = cache && count > 1 ? stock(cache, heap, class, blocks + 1, count - 1) : 0;
	if (stocked < count - 1)
		put_in_depot(heap, class, blocks + 1 + stocked, count - 1 - stocked);
	return blocks[0];
}

void *rdm_trade_alloc(struct rdm_heap *heap, unsigned class)
{
	void *block;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	if (!rdm_cache_budget || !rdm_gate_enter())
		return NULL;
	if (rdm_late_any())
		rdm_settle();
	block = trade_alloc(heap, class);
	rdm_gate_leave();
	return block;
}

/*
 * Whether a stack that is full may have more. Where free memory goes back: one that is small yet,
 * or that was found empty while the depot had blocks, so that they come and go.
 */
static bool may_grow(struct rdm_cache *cache, const struct rdm_heap *heap, unsigned class)
{
	size_t allowance = rdm_stack_allowance(&cache->stacks[class]);
	bool drawn = cache->drawn[class];

	cache->drawn[class] = false;
	return !heap->returns || drawn || 2 * allowance * rdm_class_size(class) <= SMALL_BYTES;
}

/* Makes room for one more block on a full stack, or leaves it without a magazine. */
static void relieve(struct rdm_cache *cache, const struct rdm_heap *heap, unsigned class,
		    struct chores *chores)
{
	struct rdm_stack *stack = &cache->stacks[class];

	rdm_assert(stack->floor);
	evict(cache, class, false, chores);
	if (may_grow(cache, heap, class) && grow(cache, class))
		return;
	if (rdm_stack_allowance(stack) == RDM_MAGAZINE_BLOCKS)
		chores->full = rdm_cache_unload(cache, class);
	else
		spill(stack, chores);
}

enum push { PUSHED, LOCKED, UNEQUIPPED };

static enum push push(struct rdm_cache *cache, struct rdm_heap *heap, unsigned class, void *block,
		      size_t *blocks)
{
	struct rdm_stack *stack = &cache->stacks[class];
	enum push outcome = LOCKED;
	struct chores chores;

	no_chores(&chores);
	if (rdm_cache_enter(cache, heap)) {
		bool pushed = stack->floor && rdm_stack_push(stack, block);

		if (stack->floor && !pushed)
			relieve(cache, heap, class, &chores);
		pushed = pushed || (stack->floor && rdm_stack_push(stack, block));
		outcome = pushed ? PUSHED : UNEQUIPPED;
	}
	rdm_cache_leave(cache);
	if (chores.full)
		*blocks = RDM_MAGAZINE_BLOCKS;
	do_chores(cache, heap, class, &chores);
	return outcome;
}

static void trade_free(struct rdm_heap *heap, unsigned class, void *block)
{
	size_t first = 0;
	struct rdm_cache *cache;
	enum push outcome = LOCKED;

	cache = rdm_caches_may_be_late() ? NULL : cache_of(heap);
	if (cache)
		outcome = push(cache, heap, class, block, &first);
	/* Of large blocks only those that come from the depot are wanted again; others shall go back. */
	if (outcome == UNEQUIPPED && !first &&
	    (!heap->returns || rdm_class_size(class) <= FIRST_BYTES))
		first = first_allowance(cache, class);
	if (outcome == UNEQUIPPED && equip(cache, heap, class, first))
		outcome = push(cache, heap, class, block, &first);
	if (outcome != PUSHED)
		put_in_depot(heap, class, &block, 1);
}

void rdm_trade_free(struct rdm_heap *heap, unsigned class, void *block)
{
	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(block);
	if (!rdm_gate_try()) {
		rdm_late_put(block, RDM_LATE_BLOCK, class);
		return;
	}
	if (!rdm_cache_budget || rdm_class_size(class) > heap->kept_max)
		rdm_arena_free_batch(&heap->arena, class, &block, 1);
	else
		trade_free(heap, class, block);
	rdm_gate_leave();
}
