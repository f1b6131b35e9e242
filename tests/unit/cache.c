/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads' caches without the rest: blocks go in, on to the depot and out again, each of them
 * once, never more than the budget allows; who uses a class gets more of it, who does not gives
 * way; and what is in a cache can be had when its thread sleeps, ends, or stays behind at a fork.
 */
#include "support.h"

#include <linux/membarrier.h>
#include <setjmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "fork/fork.h"
#include "heap/caches.h"
#include "heap/heap.h"
#include "heap/trade.h"
#include "memory/meta.h"
#include "sync/gate.h"
#include "sync/quiesce.h"
#include "unit/standstill.h"

/* Under the quiesce lock, as who calls it must be. */
#define HOLD(call)                                   \
	do {                                         \
		T_CHECK(rdm_quiesce_enter("cache")); \
		call;                                \
		T_CHECK(!rdm_quiesce_leave(0));      \
	} while (0)
#define HELD(call)                           \
	({                                   \
		__typeof__(call) its_result; \
                                             \
		HOLD(its_result = call);     \
		its_result;                  \
	})

enum { FULL = RDM_MAGAZINE_BLOCKS, BLOCKS = 4000, ROUNDS = 100000, SLOT = 3 };
#define BUDGET (4 * T_MIB)

static bool no_memory;
void *__real_rdm_je_calloc(size_t count, size_t size);
void *__wrap_rdm_je_calloc(size_t count, size_t size);
void *__wrap_rdm_je_calloc(size_t count, size_t size)
{
	return no_memory ? NULL : __real_rdm_je_calloc(count, size);
}

static struct rdm_heap heap, other;

/* Their addresses are the blocks: nobody looks inside. */
static char memory[BLOCKS];
static enum { TEST, HEAP, ARENA } where[BLOCKS];
static unsigned class_of[BLOCKS];
static size_t in_arena;

static size_t number_of(void *block)
{
	size_t number = (size_t)((char *)block - memory);

	T_CHECK(number < BLOCKS);
	return number;
}

static void move(void *block, unsigned class, unsigned from, unsigned to)
{
	size_t number = number_of(block);

	T_CHECKF(where[number] == from && class_of[number] == class,
		 "block %zu of class %u is in %u; as one of class %u it was in %u", number,
		 class_of[number], where[number], class, from);
	where[number] = to;
	in_arena += to == ARENA;
}

void __wrap_rdm_arena_free(void *block, unsigned state);
void __wrap_rdm_arena_free(void *block, unsigned state)
{
	move(block, state, HEAP, ARENA);
}

void __wrap_rdm_arena_free_many(struct rdm_arena *arena, unsigned class, void *const *blocks,
				size_t count);
void __wrap_rdm_arena_free_many(struct rdm_arena *arena, unsigned class, void *const *blocks,
				size_t count)
{
	T_CHECK(arena == &heap.arena);
	while (count--)
		move(blocks[count], class, HEAP, ARENA);
}

void __wrap_rdm_arena_free_batch(struct rdm_arena *arena, unsigned class, void *const *blocks,
				 size_t count);
void __wrap_rdm_arena_free_batch(struct rdm_arena *arena, unsigned class, void *const *blocks,
				 size_t count)
{
	__wrap_rdm_arena_free_many(arena, class, blocks, count);
}

/* As malloc.c does, with a block that the arena has made, which the test holds. */
static void give(size_t number, unsigned class)
{
	class_of[number] = class;
	where[number] = TEST;
	move(memory + number, class, TEST, HEAP);
	if (rdm_class_size(class) > heap.kept_max ||
	    !rdm_cache_push(&heap, SLOT, class, memory + number))
		rdm_trade_free(&heap, class, memory + number);
}

static void *get(unsigned class)
{
	void *block = rdm_cache_pop(&heap, SLOT, class);

	if (!block)
		block = rdm_trade_alloc(&heap, class);
	if (block)
		move(block, class, HEAP, TEST);
	return block;
}

static size_t in_depot(unsigned class)
{
	return heap.depot.shelves[class].count;
}

/* The calling thread's, as a trade asks for it. */
static struct rdm_cache *caches_of(struct rdm_heap *of)
{
	struct rdm_cache *found;

	T_CHECK(rdm_gate_enter());
	found = rdm_caches_of(of);
	rdm_gate_leave();
	return found;
}

static struct rdm_cache *cache(void)
{
	return caches_of(&heap);
}

static const struct rdm_stack *stack(unsigned class)
{
	return &cache()->stacks[class];
}

static size_t on_stack(unsigned class)
{
	return (size_t)(stack(class)->top - stack(class)->floor);
}

/* As if nothing were carved. */
static struct rdm_slab_set no_slabs;

static void begin_heap(struct rdm_heap *one, unsigned slot)
{
	memset(one, 0, sizeof(*one));
	one->arena.slabs = &no_slabs;
	rdm_depot_init(&one->depot);
	LIST_INIT(&one->caches);
	one->slot = slot;
	one->kept_max = SIZE_MAX;
}

static int begin(void **state)
{
	(void)state;
	begin_heap(&heap, SLOT);
	begin_heap(&other, SLOT + 1);
	rdm_cache_budget = BUDGET;
	memset(where, 0, sizeof(where));
	in_arena = 0;
	no_memory = false;
	/* Nothing that was often is often any more. */
	pass_ms(60000);
	return 0;
}

static int end(void **state)
{
	(void)state;
	HOLD(rdm_caches_close(&heap));
	HOLD(rdm_caches_close(&other));
	return 0;
}

static void stacks(void **state)
{
	struct rdm_magazine magazine;
	struct rdm_stack none = { .floor = NULL }, some = { .top = magazine.blocks,
							    .floor = magazine.blocks,
							    .ceiling = magazine.blocks + 5 };

	(void)state;
	assert_null(rdm_stack_pop(&none));
	assert_false(rdm_stack_push(&none, memory));
	assert_int_equal(rdm_stack_allowance(&none), 0);
	assert_int_equal(rdm_stack_allowance(&some), 5);
	assert_null(rdm_stack_pop(&some));
	for (size_t i = 0; i < 5; i++)
		assert_true(rdm_stack_push(&some, memory + i));
	assert_false(rdm_stack_push(&some, memory + 5));
	for (size_t i = 5; i--;)
		assert_ptr_equal(rdm_stack_pop(&some), memory + i);
	assert_null(rdm_stack_pop(&some));
	assert_true(rdm_stack_push(&some, memory));
}

/* A magazine for 10 blocks with so many in it. */
static void load(struct rdm_cache *one, unsigned class, size_t count)
{
	struct rdm_magazine *magazine = rdm_meta_alloc(sizeof(*magazine));
	struct rdm_stack *at = &one->stacks[class];

	T_CHECK(magazine && count <= 10);
	at->floor = magazine->blocks;
	at->top = magazine->blocks;
	at->ceiling = magazine->blocks + 10;
	rdm_cache_count(one, 10 * rdm_class_size(class));
	for (size_t i = 0; i < count; i++)
		assert_true(rdm_stack_push(at, memory + i));
}

static void unload_and_flush(void **state)
{
	static _Atomic size_t held;
	static struct rdm_cache one;
	struct rdm_magazine *magazine;
	size_t bytes = 0;

	(void)state;
	/* The fields before the stacks are where one of class 0 would be. */
	assert_true(offsetof(struct rdm_cache, chores) + sizeof(one.chores) <=
		    offsetof(struct rdm_cache, stacks[1]));
	memset(&one, 0, sizeof(one));
	one.home = &heap;
	one.held = &held;
	assert_int_equal(rdm_cache_bytes(&one), 0);
	load(&one, 1, 3);
	load(&one, 2, 0);
	load(&one, RDM_CLASS_MAX, 10);
	bytes = 3 * rdm_class_size(1) + 10 * rdm_class_size(RDM_CLASS_MAX);
	assert_int_equal(rdm_cache_bytes(&one), bytes);
	load(&one, 9, 7);
	assert_int_equal(rdm_cache_bytes(&one), bytes + 7 * rdm_class_size(9));
	magazine = rdm_cache_unload(&one, 9);
	assert_int_equal(magazine->count, 7);
	assert_ptr_equal(magazine->blocks[6], memory + 6);
	rdm_meta_free(magazine);
	assert_null(one.stacks[9].floor);
	assert_null(rdm_stack_pop(&one.stacks[9]));
	assert_false(rdm_stack_push(&one.stacks[9], memory));
	assert_int_equal(rdm_cache_bytes(&one), bytes);
	rdm_cache_flush(&one);
	assert_int_equal(rdm_cache_bytes(&one), 0);
	assert_int_equal(held, 0);
	assert_int_equal(rdm_depot_bytes(&heap.depot), bytes);
	assert_int_equal(in_depot(1), 3);
	assert_int_equal(in_depot(2), 0);
	assert_int_equal(in_depot(RDM_CLASS_MAX), 10);
	rdm_cache_flush(&one);
	assert_int_equal(rdm_depot_bytes(&heap.depot), bytes);
}

static void enter_and_leave(void **state)
{
	struct rdm_cache *mine = cache();

	(void)state;
	assert_true(rdm_cache_enter(mine, &heap));
	assert_true(mine->busy);
	rdm_cache_leave(mine);
	assert_false(mine->busy);
	assert_false(rdm_cache_enter(mine, &other));
	rdm_cache_leave(mine);
	mine->heap = RDM_NO_HEAP;
	assert_false(rdm_cache_enter(mine, &heap));
	rdm_cache_leave(mine);
	mine->heap = &heap;
	assert_false(rdm_cache_enter(&rdm_tls_no_cache, &heap));
	rdm_cache_leave(&rdm_tls_no_cache);
}

static bool is_cool(void)
{
	for (size_t i = 0; i < RDM_TLS_PLACES; i++)
		if (rdm_tls.hot[i] != &rdm_tls_no_cache || rdm_tls_hot(i) != rdm_tls.hot[i])
			return false;
	return true;
}

/* They are found in turn without a call, but for two that share a place. */
static void a_place_for_many(void **state)
{
	enum { HEAPS = 16 };
	static struct rdm_heap more[HEAPS], rival;
	struct rdm_cache *mine = cache(), *theirs;

	(void)state;
	for (unsigned i = 0; i < HEAPS; i++) {
		begin_heap(&more[i], SLOT + 1 + i);
		caches_of(&more[i]);
	}
	for (unsigned i = 0; i < HEAPS; i++)
		assert_ptr_equal(rdm_tls_hot(rdm_heap_place(&more[i]))->heap, &more[i]);
	assert_ptr_equal(rdm_tls_hot(SLOT), mine);
	begin_heap(&rival, SLOT + RDM_TLS_PLACES);
	assert_int_equal(rdm_heap_place(&rival), SLOT);
	theirs = caches_of(&rival);
	assert_ptr_equal(rdm_tls_hot(SLOT), theirs);
	assert_null(rdm_cache_pop(&heap, SLOT, 1));
	assert_false(rdm_cache_push(&heap, SLOT, 1, memory));
	assert_ptr_equal(cache(), mine);
	for (unsigned i = 0; i < HEAPS; i++)
		HOLD(rdm_caches_close(&more[i]));
	HOLD(rdm_caches_close(&rival));
}

static void *look_around(void *arg)
{
	struct rdm_cache *mine, *theirs = arg;

	T_CHECK(is_cool());
	T_CHECK(!rdm_cache_pop(&heap, SLOT, 1) && !rdm_cache_push(&heap, SLOT, 1, memory));
	mine = caches_of(&heap);
	T_CHECK(mine && mine != theirs && rdm_tls_hot(SLOT) == mine && mine->home == &heap);
	T_CHECK(mine->owner != theirs->owner);
	return NULL;
}

static void which_thread_has_which(void **state)
{
	enum { HEAPS = 40 };
	static struct rdm_heap more[HEAPS];
	struct rdm_cache *mine = cache(), *one[HEAPS];
	pthread_t thread;

	(void)state;
	assert_ptr_equal(rdm_tls_hot(SLOT), mine);
	assert_ptr_equal(LIST_FIRST(&heap.caches), mine);
	for (unsigned i = 0; i < HEAPS; i++) {
		begin_heap(&more[i], SLOT + 2 + i);
		one[i] = caches_of(&more[i]);
		assert_ptr_equal(rdm_tls_hot(rdm_heap_place(&more[i])), one[i]);
		assert_ptr_equal(one[i]->heap, &more[i]);
		for (unsigned j = 0; j < i; j++)
			assert_ptr_not_equal(one[i], one[j]);
	}
	assert_ptr_equal(cache(), mine);
	assert_ptr_equal(rdm_tls_hot(SLOT), mine);
	for (unsigned i = 0; i < HEAPS; i++)
		assert_ptr_equal(caches_of(&more[i]), one[i]);
	T_CHECK(!pthread_create(&thread, NULL, look_around, mine));
	T_CHECK(!pthread_join(thread, NULL));
	assert_ptr_equal(LIST_FIRST(&heap.caches), mine);
	assert_null(LIST_NEXT(mine, link));
	/* The next heap of that number finds what the last one left. */
	HOLD(rdm_caches_close(&more[0]));
	assert_null(one[0]->home);
	assert_null(one[0]->heap);
	assert_true(LIST_EMPTY(&more[0].caches));
	begin_heap(&more[0], SLOT + 2);
	assert_ptr_equal(caches_of(&more[0]), one[0]);
	assert_ptr_equal(one[0]->heap, &more[0]);
	for (unsigned i = 0; i < HEAPS; i++)
		HOLD(rdm_caches_close(&more[i]));
}

/* What does not fit goes to the depot: the half that was not used for longest. */
static void spills(void **state)
{
	unsigned class = rdm_class_of(4096);

	(void)state;
	for (size_t i = 0; i < 4; i++)
		give(i, class);
	assert_int_equal(rdm_stack_allowance(stack(class)), 4);
	assert_int_equal(on_stack(class), 4);
	assert_int_equal(in_depot(class), 0);
	give(4, class);
	assert_int_equal(on_stack(class), 3);
	assert_int_equal(in_depot(class), 2);
	for (size_t i = 5; --i > 1;)
		assert_ptr_equal(get(class), memory + i);
	assert_int_equal(in_depot(class), 2);
	/* Half a stack is fetched, of which one is wanted. */
	assert_non_null(get(class));
	assert_int_equal(on_stack(class), 1);
	assert_int_equal(in_depot(class), 0);
	assert_non_null(get(class));
	assert_null(get(class));
}

static void whole_magazines(void **state)
{
	(void)state;
	for (size_t i = 0; i < FULL; i++)
		give(i, 1);
	assert_int_equal(on_stack(1), FULL);
	assert_int_equal(in_depot(1), 0);
	give(FULL, 1);
	assert_int_equal(on_stack(1), 1);
	assert_int_equal(in_depot(1), FULL);
	assert_ptr_equal(get(1), memory + FULL);
	assert_non_null(get(1));
	assert_int_equal(on_stack(1), FULL - 1);
	assert_int_equal(in_depot(1), 0);
}

static void grows(void **state)
{
	unsigned class = rdm_class_of(4096);

	(void)state;
	/* Seldom: it trades once in 20 ms. */
	for (size_t i = 0; i < BLOCKS; i++) {
		give(i, class);
		pass_ms(10);
	}
	assert_int_equal(rdm_stack_allowance(stack(class)), 4);
	end(NULL);
	begin(NULL);
	for (size_t i = 0; i < BLOCKS; i++)
		give(i, class);
	assert_int_equal(rdm_stack_allowance(stack(class)), FULL);
	end(NULL);
	begin(NULL);
	/* As far as there is room. */
	rdm_cache_budget = 30 * 4096 + 1;
	for (size_t i = 0; i < BLOCKS; i++)
		give(i, class);
	assert_int_equal(rdm_stack_allowance(stack(class)), 30);
	assert_int_equal(*cache()->held, 30 * 4096);
	end(NULL);
	begin(NULL);
	/* Who only takes grows, too. */
	for (size_t i = 0; i < BLOCKS; i++) {
		void *block = memory + i;

		class_of[i] = class;
		where[i] = HEAP;
		assert_int_equal(rdm_depot_put(&heap.depot, class, &block, 1), 1);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		assert_non_null(get(class));
	assert_int_equal(rdm_stack_allowance(stack(class)), FULL);
	assert_null(get(class));
}

/* Blocks larger than a class may have at first are kept if they are wanted often. */
static void large_blocks(void **state)
{
	unsigned class = rdm_class_of(16385);
	size_t i;

	(void)state;
	give(0, class - 1);
	assert_int_equal(rdm_stack_allowance(stack(class - 1)), 1);
	for (i = 1; i < 1000; i++) {
		give(i, class);
		assert_null(stack(class)->floor);
		pass_ms(10);
	}
	for (; i < 1020; i++)
		give(i, class);
	assert_non_null(stack(class)->floor);
	/* What would fill more than the cache never is. */
	class = rdm_class_of(BUDGET + 1);
	for (; i < 1100; i++)
		give(i, class);
	assert_null(stack(class)->floor);
	assert_int_equal(in_depot(class), 80);
}

/* Where free memory goes back, who only frees keeps little, and of large blocks none. */
static void returns(void **state)
{
	unsigned class = rdm_class_of(4096), large = rdm_class_of(65536);

	(void)state;
	heap.returns = true;
	for (size_t i = 0; i < 2000; i++)
		give(i, class);
	assert_int_equal(rdm_stack_allowance(stack(class)), 16);
	assert_true(rdm_depot_bytes(&heap.depot) <= T_MIB);
	assert_true(in_arena > 2000 - 16 - T_MIB / 4096 - FULL);
	for (size_t i = 2000; i < 2100; i++)
		give(i, large);
	assert_null(stack(large)->floor);
	assert_true(rdm_depot_bytes(&heap.depot) <= T_MIB);
	/* What comes and goes is kept as everywhere; the arena has what the depot has not. */
	for (unsigned round = 0; round < 100; round++) {
		size_t number[8];

		for (size_t i = 0; i < 8; i++) {
			void *block = get(large);

			number[i] = block ? number_of(block) : 2100 + 8 * round + i;
		}
		for (size_t i = 0; i < 8; i++)
			give(number[i], large);
	}
	assert_non_null(stack(large)->floor);
	assert_true(on_stack(large) >= 4);
}

static void gives_way(void **state)
{
	static const size_t sizes[] = { 64, 128, 256, 512, 1024 };

	(void)state;
	rdm_cache_budget = 65536;
	cache()->hand = 0;
	for (unsigned i = 0; i < 5; i++)
		cache()->stacks[rdm_class_of(sizes[i])].seen = NULL;
	for (unsigned i = 0; i < 5; i++)
		for (unsigned n = 0; n < 5; n++)
			give(5 * i + n, rdm_class_of(sizes[i]));
	/* The first one was not used for longest. */
	assert_null(stack(rdm_class_of(64))->floor);
	assert_int_equal(in_depot(rdm_class_of(64)), 5);
	for (unsigned i = 1; i < 5; i++)
		assert_int_equal(on_stack(rdm_class_of(sizes[i])), 5);
	assert_true(*cache()->held <= 65536);
}

/* The bound is one for all heaps of a thread: the others' blocks go to their depots, and come back. */
static void heaps_give_way(void **state)
{
	enum { HEAPS = 8 };
	static struct rdm_heap more[HEAPS];
	unsigned class = rdm_class_of(1024);

	(void)state;
	rdm_cache_budget = 65536;
	for (unsigned i = 0; i < HEAPS; i++) {
		begin_heap(&more[i], SLOT + 2 + i);
		for (unsigned n = 0; n < 5; n++) {
			rdm_gate_enter();
			rdm_trade_free(&more[i], class, memory + 5 * i + n);
			rdm_gate_leave();
		}
		assert_true(*caches_of(&more[i])->held <= 65536);
		assert_int_equal(rdm_cache_bytes(caches_of(&more[i])), 5 * 1024);
	}
	assert_int_equal(rdm_depot_bytes(&more[0].depot), 5 * 1024);
	/* A thread's own stack that is in use gives way last. */
	for (unsigned n = 0; n < 5; n++)
		give(100 + n, class);
	assert_int_equal(on_stack(class), 5);
	assert_true(*cache()->held <= 65536);
	/* One in whose use a signal came keeps what it has. */
	cache()->busy = true;
	for (unsigned i = 0; i < HEAPS; i++)
		T_CHECK(rdm_trade_alloc(&more[i], class));
	assert_int_equal(on_stack(class), 5);
	/* What else is wanted then goes to the depot. */
	rdm_cache_count(cache(), 65536);
	rdm_gate_enter();
	rdm_trade_free(&more[0], rdm_class_of(2048), memory + 200);
	rdm_gate_leave();
	rdm_cache_count(cache(), -(size_t)65536);
	assert_int_equal(more[0].depot.shelves[rdm_class_of(2048)].count, 1);
	cache()->busy = false;
	for (unsigned i = 0; i < HEAPS; i++) {
		HOLD(rdm_caches_forget(&more[i]));
		HOLD(rdm_caches_close(&more[i]));
	}
	assert_true(*cache()->held <= 65536);
}

/* Beside a class that trades, one that is idle gives way, and one that is used does not. */
static void idle_gives_way(void **state)
{
	unsigned trading = rdm_class_of(4096), idle = rdm_class_of(128), used = rdm_class_of(256);
	void *block = memory + 1;

	(void)state;
	give(0, idle);
	give(1, used);
	for (size_t i = 2; i + 2 < BLOCKS; i += 2) {
		give(i, trading);
		give(i + 1, trading);
		pass_ms(20);
		if (!(block = get(used)))
			give(1, used);
	}
	assert_null(stack(idle)->floor);
	assert_non_null(stack(used)->floor);
}

static void to_the_arena_at_once(void **state)
{
	unsigned most = rdm_class_of(8192);

	(void)state;
	heap.kept_max = 8192;
	give(0, most);
	assert_int_equal(in_arena, 0);
	give(1, most + 1);
	assert_int_equal(where[1], ARENA);
	give(2, RDM_CLASS_MAX);
	assert_int_equal(where[2], ARENA);
	assert_int_equal(in_arena, 2);
	assert_null(get(most + 1));
	assert_ptr_equal(get(most), memory);
	end(NULL);
	begin(NULL);
	rdm_cache_budget = 0;
	give(0, 1);
	assert_int_equal(where[0], ARENA);
	assert_null(get(1));
	assert_int_equal(rdm_depot_bytes(&heap.depot), 0);
}

/* As while somebody else looks at it. */
static void locked(void **state)
{
	struct rdm_cache *mine;

	(void)state;
	give(0, 1);
	mine = cache();
	mine->heap = RDM_NO_HEAP;
	give(1, 1);
	give(2, 1);
	assert_int_equal(in_depot(1), 2);
	assert_ptr_equal(get(1), memory + 2);
	assert_ptr_equal(get(1), memory + 1);
	assert_null(get(1));
	mine->heap = &heap;
	assert_int_equal(on_stack(1), 1);
	assert_ptr_equal(get(1), memory);
}

static void *begin_without_memory(void *arg)
{
	(void)arg;
	no_memory = true;
	T_CHECK(!caches_of(&heap));
	give(0, 1);
	T_CHECK(where[0] == ARENA && !get(1));
	no_memory = false;
	T_CHECK(caches_of(&heap));
	no_memory = true;
	give(1, 1);
	T_CHECK(where[1] == ARENA && !stack(1)->floor);
	no_memory = false;
	/* The first time after a vain one it is not asked for. */
	give(2, 1);
	T_CHECK(where[2] == ARENA && !stack(1)->floor);
	give(3, 1);
	T_CHECK(get(1) == memory + 3);
	return NULL;
}

static void without_memory(void **state)
{
	pthread_t thread;

	(void)state;
	T_CHECK(!pthread_create(&thread, NULL, begin_without_memory, NULL));
	T_CHECK(!pthread_join(thread, NULL));
}

/* A thread that sleeps with ten blocks in its cache. */
static struct sleeper {
	struct t_event ready, go;
	bool inside; /* in the midst of something */
	pthread_t thread;
} sleeper;

static void *sleep_with_blocks(void *arg)
{
	(void)arg;
	/* A thread that only frees would not have a cache so soon. */
	T_CHECK(!get(1));
	for (size_t i = 0; i < 10; i++)
		give(i, 1);
	if (sleeper.inside)
		T_CHECK(rdm_cache_enter(cache(), &heap));
	t_event_set(&sleeper.ready);
	t_event_wait(&sleeper.go);
	rdm_cache_leave(cache());
	/* It goes on. */
	give(10, 1);
	T_CHECK(get(1) == memory + 10);
	return NULL;
}

static void start_sleeper(bool inside)
{
	sleeper.inside = inside;
	t_event_init(&sleeper.ready);
	t_event_init(&sleeper.go);
	T_CHECK(!pthread_create(&sleeper.thread, NULL, sleep_with_blocks, NULL));
	t_event_wait(&sleeper.ready);
}

static void end_sleeper(void)
{
	t_event_set(&sleeper.go);
	T_CHECK(!pthread_join(sleeper.thread, NULL));
	t_event_destroy(&sleeper.ready);
	t_event_destroy(&sleeper.go);
}

static void need_membarrier(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED)
		return;
	puts("SKIP: the kernel has no private expedited membarrier");
	skip();
}

static void drained_while_it_sleeps(void **state)
{
	(void)state;
	need_membarrier();
	start_sleeper(false);
	give(20, 2);
	assert_int_equal(HELD(rdm_caches_bytes(&heap)), 10 * rdm_class_size(1) + rdm_class_size(2));
	assert_true(HELD(rdm_caches_drain(&heap)));
	assert_int_equal(in_arena, 11);
	assert_int_equal(HELD(rdm_caches_bytes(&heap)), 0);
	assert_int_equal(rdm_depot_bytes(&heap.depot), 0);
	assert_false(HELD(rdm_caches_drain(&heap)));
	end_sleeper();
}

/* What a thread has that sleeps goes to the depot, when others have looked at it a few times. */
static void sleepers_are_emptied(void **state)
{
	(void)state;
	need_membarrier();
	start_sleeper(false);
	for (unsigned look = 0; look < 8; look++) {
		assert_int_equal(in_depot(1), look < 5 ? 0 : 10);
		pass_ms(300);
		T_CHECK(rdm_gate_enter());
		rdm_caches_look(&heap);
		rdm_caches_look(&heap);
		rdm_gate_leave();
	}
	assert_int_equal(in_depot(1), 10);
	for (size_t i = 0; i < 10; i++)
		assert_non_null(get(1));
	end_sleeper();
}

static void forgotten_while_it_sleeps(void **state)
{
	(void)state;
	start_sleeper(false);
	give(20, 2);
	HOLD(rdm_caches_forget(&heap));
	assert_int_equal(in_arena, 0);
	assert_null(get(2));
	assert_int_equal(rdm_depot_bytes(&heap.depot), 0);
	end_sleeper();
	assert_int_equal(rdm_depot_bytes(&heap.depot), 0);
}

static void flushed_when_it_ends(void **state)
{
	(void)state;
	start_sleeper(false);
	assert_int_equal(in_depot(1), 0);
	assert_false(LIST_EMPTY(&heap.caches));
	end_sleeper();
	assert_int_equal(in_depot(1), 10);
	assert_true(LIST_EMPTY(&heap.caches));
	for (size_t i = 0; i < 10; i++)
		assert_non_null(get(1));
	/* On demand. */
	give(0, 1);
	rdm_thread_flush();
	assert_int_equal(on_stack(1), 0);
	assert_int_equal(in_depot(1), 1);
}

/* What the sleeper has is in the depot, or gone if it was in the midst of moving it. */
static void expect_buried(void)
{
	T_CHECK(in_depot(1) == (sleeper.inside ? 0 : 10));
	T_CHECK(LIST_FIRST(&heap.caches) == cache() && !LIST_NEXT(cache(), link));
	T_CHECK(on_stack(2) == 1 && get(2) == memory + 20);
}

static int go_on(void *arg)
{
	(void)arg;
	HOLD(rdm_caches_bury(&heap));
	expect_buried();
	return T_PASS;
}

static int adopt(void *arg)
{
	(void)arg;
	rdm_caches_postfork_child(&heap);
	heap.inherited = true;
	T_CHECK(!rdm_cache_pop(&heap, SLOT, 2));
	T_CHECK(HELD(rdm_caches_bytes(&heap)) == rdm_class_size(2));
	T_CHECK(!rdm_cache_pop(&heap, SLOT, 2));
	HOLD(rdm_caches_adopt(&heap));
	heap.inherited = false;
	expect_buried();
	return T_PASS;
}

static void others_stay_behind(void **state)
{
	(void)state;
	for (unsigned inside = 0; inside < 2; inside++) {
		start_sleeper(inside);
		give(20, 2);
		t_fork_passes(go_on, NULL);
		t_fork_passes(adopt, NULL);
		end_sleeper();
		end(NULL);
		begin(NULL);
	}
}

static void expect_bounds(void)
{
	struct rdm_cache *mine = cache();
	size_t bytes = 0;

	for (unsigned class = 1; class <= RDM_CLASS_MAX; class ++) {
		const struct rdm_stack *one = &mine->stacks[class];

		assert_true(one->floor <= one->top && one->top <= one->ceiling);
		assert_true(rdm_stack_allowance(one) <= FULL);
		bytes += rdm_stack_allowance(one) * rdm_class_size(class);
	}
	assert_int_equal(*mine->held, bytes);
	assert_true(bytes <= rdm_cache_budget);
}

static void expect_all(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < BLOCKS; i++)
		bytes += where[i] == HEAP ? rdm_class_size(class_of[i]) : 0;
	assert_int_equal(HELD(rdm_caches_bytes(&heap)) + rdm_depot_bytes(&heap.depot), bytes);
}

/* A few classes at a time, in phases that mostly give, or get, often or seldom. */
static void at_random(void **state)
{
	static const size_t budgets[] = { 64, 20000, 65536, BUDGET };
	struct t_rng rng = { .state = t_seed() };
	unsigned class = 1, giving = 50, pause = 0, gained = 0;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t number = t_below(&rng, BLOCKS);

		if (round % (ROUNDS / 4) == 0) {
			end(NULL);
			begin(NULL);
			rdm_cache_budget = budgets[round / (ROUNDS / 4)];
		}
		if (round % 500 == 0) {
			expect_all();
			class = 1 + (unsigned)t_below(&rng, 70);
			giving = 10 + (unsigned)t_below(&rng, 80);
			pause = t_below(&rng, 2) ? 0 : (unsigned)t_below(&rng, 30);
		}
		if (t_below(&rng, 100) < giving) {
			if (where[number] != HEAP)
				give(number, class + (unsigned)t_below(&rng, 4));
		} else {
			gained += get(class + (unsigned)t_below(&rng, 4)) != NULL;
		}
		expect_bounds();
		pass_ms(pause ? (unsigned)t_below(&rng, pause) : 0);
	}
	expect_all();
	assert_true(gained > ROUNDS / 100);
}

static int open_caches(void **state)
{
	(void)state;
	rdm_fork_init();
	T_CHECK(rdm_quiesce_enter("test"));
	rdm_cache_quicken();
	T_CHECK(!rdm_quiesce_leave(0));
	T_CHECK(rdm_quick.classes == RDM_CLASS_MAX &&
		rdm_quick.units == rdm_reserve_size() >> RDM_UNIT_SHIFT);
	T_CHECK(is_cool());
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(stacks),
		CASE(unload_and_flush),
		CASE(enter_and_leave),
		CASE(a_place_for_many),
		CASE(which_thread_has_which),
		CASE(spills),
		CASE(whole_magazines),
		CASE(grows),
		CASE(large_blocks),
		CASE(returns),
		CASE(sleepers_are_emptied),
		CASE(gives_way),
		CASE(heaps_give_way),
		CASE(idle_gives_way),
		CASE(to_the_arena_at_once),
		CASE(locked),
		CASE(without_memory),
		CASE(drained_while_it_sleeps),
		CASE(forgotten_while_it_sleeps),
		CASE(flushed_when_it_ends),
		CASE(others_stay_behind),
		CASE(at_random),
	};

	return cmocka_run_group_tests(tests, open_caches, NULL);
}
