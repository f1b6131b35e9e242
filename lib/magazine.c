/* SPDX-License-Identifier: BSD-2-Clause */
#include "magazine.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ablate.h"
#include "arena.h"
#include "conf.h"
#include "log.h"
#include "meta.h"
#include "pool.h"
#include "rdmalloc.h"

/* What a class may have at first, if a block is not larger. */
#define FIRST_BYTES ((size_t)16 << 10)

/* The caches of a thread, by its pools' slots. */
struct rdm_thread {
	struct rdm_cache **caches;
	unsigned slots;
};

/* Stands for a cache where there is none; nothing is ever in it. */
static struct rdm_cache no_cache = { .pool = RDM_NO_POOL };
/* A thread that has none (yet), and must not make one now. */
static struct rdm_thread outsider;

__thread struct rdm_magazine_tls rdm_magazine_tls = { .hot = &no_cache };
#define self (rdm_magazine_tls.self)

/* In a child: the thread that forked. It alone has what is in inherited pools' caches. */
static const struct rdm_thread *survivor;

static pthread_key_t key;
static size_t budget;
/* Guards the pools' lists of caches. Under it: depots only. */
static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;

static size_t allowance(const struct rdm_stack *stack)
{
	return (size_t)(stack->ceiling - stack->floor);
}

static void load(struct rdm_stack *stack, struct rdm_magazine *magazine, size_t blocks)
{
	stack->floor = magazine->blocks;
	stack->ceiling = magazine->blocks + blocks;
	atomic_store_explicit(&stack->top, magazine->blocks + magazine->count,
			      memory_order_relaxed);
}

/* The magazine of a stack that has one. The stack has none, then. */
static struct rdm_magazine *unload(struct rdm_cache *cache, unsigned class)
{
	struct rdm_stack *stack = &cache->stacks[class];
	void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);
	struct rdm_magazine *magazine;

	magazine = (void *)((char *)stack->floor - offsetof(struct rdm_magazine, blocks));
	magazine->count = (size_t)(top - stack->floor);
	cache->bytes -= allowance(stack) * rdm_class_size(class);
	stack->floor = stack->ceiling = NULL;
	atomic_store_explicit(&stack->top, NULL, memory_order_relaxed);
	return magazine;
}

/* What has to be done after leave. */
struct chores {
	struct rdm_magazine *evicted; /* of the class `evicted_class`, or NULL */
	unsigned evicted_class;
	struct rdm_magazine *full; /* of the class itself, or NULL */
	size_t count;              /* of blocks that belong to the depot */
	void *blocks[RDM_MAGAZINE_BLOCKS];
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

	cache->hand = cache->hand % RDM_CLASS_MAX + 1;
	stack = &cache->stacks[cache->hand];
	top = atomic_load_explicit(&stack->top, memory_order_relaxed);
	if (cache->hand == class || !stack->floor)
		return;
	if (any || stack->seen == top) {
		chores->evicted_class = cache->hand;
		chores->evicted = unload(cache, cache->hand);
	}
	stack->seen = top;
}

/* Lets a stack have up to twice as many blocks, as far as there is room. */
static bool grow(struct rdm_cache *cache, unsigned class)
{
	struct rdm_stack *stack = &cache->stacks[class];
	size_t more = allowance(stack);
	size_t size;

	if (more == RDM_MAGAZINE_BLOCKS)
		return false;
	size = rdm_class_size(class);
	if (more > RDM_MAGAZINE_BLOCKS - more)
		more = RDM_MAGAZINE_BLOCKS - more;
	if (more * size > budget - cache->bytes)
		more = (budget - cache->bytes) / size;
	stack->ceiling += more;
	cache->bytes += more * size;
	return more;
}

/* Takes the lower half, which is what was not used for longest. */
static void spill(struct rdm_stack *stack, struct chores *chores)
{
	void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);
	size_t count = (size_t)(top - stack->floor);
	size_t half = (count + 1) / 2;

	memcpy(chores->blocks, stack->floor, half * sizeof(void *));
	memmove(stack->floor, stack->floor + half, (count - half) * sizeof(void *));
	atomic_store_explicit(&stack->top, top - half, memory_order_relaxed);
	chores->count = half;
}

static struct rdm_thread *join_registry(void)
{
	struct rdm_thread *thread = rdm_meta_alloc(sizeof(*thread));

	if (!thread)
		return &outsider;
	/* It may call a malloc that is served by a pool. */
	self = &outsider;
	if (pthread_setspecific(key, thread)) {
		rdm_meta_free(thread);
		thread = NULL;
	}
	self = thread;
	return thread ? thread : &outsider;
}

static bool make_slot(struct rdm_thread *thread, unsigned slot)
{
	unsigned slots = thread->slots ? thread->slots : 8;
	struct rdm_cache **caches;

	if (slot < thread->slots)
		return true;
	while (slots <= slot)
		slots *= 2;
	caches = rdm_meta_alloc(slots * sizeof(*caches));
	if (!caches)
		return false;
	if (thread->slots)
		memcpy(caches, thread->caches, thread->slots * sizeof(*caches));
	rdm_meta_free(thread->caches);
	thread->caches = caches;
	thread->slots = slots;
	return true;
}

static void settle(struct rdm_cache *cache, struct rdm_pool *pool)
{
	pthread_mutex_lock(&registry);
	cache->home = pool;
	LIST_INSERT_HEAD(&pool->caches, cache, link);
	atomic_store_explicit(&cache->pool, pool, memory_order_release);
	pthread_mutex_unlock(&registry);
}

/* The calling thread's cache of a pool, hot from now on. NULL: it must do without. */
static struct rdm_cache *find_cache(struct rdm_pool *pool)
{
	struct rdm_thread *thread = self ? self : join_registry();
	struct rdm_cache *cache;

	if (thread == &outsider || !make_slot(thread, pool->slot))
		return NULL;
	cache = thread->caches[pool->slot];
	if (!cache) {
		cache = rdm_meta_alloc(sizeof(*cache));
		if (!cache)
			return NULL;
		cache->owner = thread;
		thread->caches[pool->slot] = cache;
	}
	if (!atomic_load_explicit(&cache->pool, memory_order_acquire))
		settle(cache, pool);
	rdm_magazine_tls.hot = cache;
	return cache;
}

static struct rdm_cache *cache_of(struct rdm_pool *pool)
{
	struct rdm_cache *hot = rdm_cache_hot();

	return hot && hot->home == pool ? hot : find_cache(pool);
}

/* For blocks that no cache takes. */
static void put_back(struct rdm_pool *pool, unsigned class, void **blocks, size_t count)
{
	size_t put = rdm_depot_put(&pool->depot, class, blocks, count);

	for (; put < count; put++)
		rdm_arena_free(blocks[put], class);
}

static void do_chores(struct rdm_pool *pool, unsigned class, struct chores *chores)
{
	if (chores->evicted)
		rdm_depot_give(&pool->depot, chores->evicted_class, chores->evicted);
	if (chores->full)
		rdm_depot_give(&pool->depot, class, chores->full);
	if (chores->count)
		put_back(pool, class, chores->blocks, chores->count);
}

/* Loads a magazine for so many blocks, others give way for it. False: the cache is locked. */
static bool load_in_turn(struct rdm_cache *cache, struct rdm_pool *pool, unsigned class,
			 struct rdm_magazine *magazine, size_t blocks)
{
	size_t bytes = blocks * rdm_class_size(class);

	for (unsigned tried = 0;; tried++) {
		bool entered = rdm_cache_enter(cache, pool);
		bool has_room = entered && cache->bytes + bytes <= budget;
		struct chores chores;

		no_chores(&chores);
		if (has_room) {
			load(&cache->stacks[class], magazine, blocks);
			cache->bytes += bytes;
		} else if (entered) {
			evict(cache, class, tried >= RDM_CLASS_MAX, &chores);
		}
		rdm_cache_leave(cache);
		do_chores(pool, class, &chores);
		if (has_room || !entered)
			return has_room;
	}
}

/* How many blocks a class may have at first; 0: none at all. */
static size_t first_allowance(unsigned class)
{
	size_t size = rdm_class_size(class);
	size_t most = budget < FIRST_BYTES ? budget : FIRST_BYTES;
	size_t blocks = size > most ? size <= budget : most / size;

	return blocks < RDM_MAGAZINE_BLOCKS ? blocks : RDM_MAGAZINE_BLOCKS;
}

/* Gives a class a magazine for so many blocks. */
static bool equip(struct rdm_cache *cache, struct rdm_pool *pool, unsigned class, size_t blocks)
{
	struct rdm_magazine *magazine = blocks ? rdm_depot_take_empty(&pool->depot) : NULL;

	if (!magazine)
		return false;
	if (load_in_turn(cache, pool, class, magazine, blocks))
		return true;
	rdm_depot_give(&pool->depot, class, magazine);
	return false;
}

/* Pops a block, or says how many to ask the depot for; 0: the class has no magazine. */
static void *pop_or_ask(struct rdm_cache *cache, struct rdm_pool *pool, unsigned class,
			size_t *wanted)
{
	struct rdm_stack *stack = &cache->stacks[class];
	void *block = NULL;

	*wanted = 0;
	if (rdm_cache_enter(cache, pool) && stack->floor) {
		block = rdm_stack_pop(stack);
		if (!block) {
			grow(cache, class);
			*wanted = allowance(stack);
			/* Half a stack leaves room for frees; whole magazines change hands easily. */
			if (*wanted < RDM_MAGAZINE_BLOCKS)
				*wanted = (*wanted + 1) / 2;
		}
	}
	rdm_cache_leave(cache);
	return block;
}

/* Puts blocks on a stack; how many it has taken. */
static size_t stock(struct rdm_cache *cache, struct rdm_pool *pool, unsigned class, void **blocks,
		    size_t count)
{
	struct rdm_stack *stack = &cache->stacks[class];
	size_t taken = 0;

	if (rdm_cache_enter(cache, pool) && stack->floor) {
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
static void *reload(struct rdm_cache *cache, struct rdm_pool *pool, unsigned class)
{
	struct rdm_magazine *magazine = rdm_depot_take_magazine(&pool->depot, class);
	struct rdm_stack *stack = &cache->stacks[class];
	void *block = NULL;

	if (!magazine)
		return NULL;
	if (rdm_cache_enter(cache, pool) && stack->floor) {
		struct rdm_magazine *empty = unload(cache, class);

		load(stack, magazine, RDM_MAGAZINE_BLOCKS);
		cache->bytes += RDM_MAGAZINE_BLOCKS * rdm_class_size(class);
		block = rdm_stack_pop(stack);
		magazine = empty;
	}
	rdm_cache_leave(cache);
	rdm_depot_give(&pool->depot, class, magazine);
	return block;
}

void *rdm_magazine_alloc(struct rdm_pool *pool, unsigned class)
{
	struct rdm_cache *cache;
	void *blocks[RDM_MAGAZINE_BLOCKS];
	size_t wanted = 0, count, stocked;
	void *block;

	if (!budget)
		return NULL;
	cache = cache_of(pool);
	block = cache ? pop_or_ask(cache, pool, class, &wanted) : NULL;
	if (!block && wanted > RDM_MAGAZINE_BLOCKS / 2)
		block = reload(cache, pool, class);
	if (block)
		return block;
	count = rdm_depot_take(&pool->depot, class, blocks, wanted ? wanted : 1);
	if (!count)
		return NULL;
	/* Where blocks come from the depot more will be wanted. */
	if (cache && !wanted)
		equip(cache, pool, class, first_allowance(class));
	stocked = count > 1 ? stock(cache, pool, class, blocks + 1, count - 1) : 0;
	if (stocked < count - 1)
		put_back(pool, class, blocks + 1 + stocked, count - 1 - stocked);
	return blocks[0];
}

/* Makes room for one more block on a full stack, or leaves it without a magazine. */
static void relieve(struct rdm_cache *cache, unsigned class, struct chores *chores)
{
	struct rdm_stack *stack = &cache->stacks[class];

	if (grow(cache, class))
		return;
	evict(cache, class, false, chores);
	if (allowance(stack) == RDM_MAGAZINE_BLOCKS)
		chores->full = unload(cache, class);
	else
		spill(stack, chores);
}

enum push { PUSHED, LOCKED, UNEQUIPPED };

static enum push push(struct rdm_cache *cache, struct rdm_pool *pool, unsigned class, void *block,
		      size_t *blocks)
{
	struct rdm_stack *stack = &cache->stacks[class];
	enum push outcome = LOCKED;
	struct chores chores;

	no_chores(&chores);
	if (rdm_cache_enter(cache, pool)) {
		bool pushed = stack->floor && rdm_stack_push(stack, block);

		if (stack->floor && !pushed)
			relieve(cache, class, &chores);
		pushed = pushed || (stack->floor && rdm_stack_push(stack, block));
		outcome = pushed ? PUSHED : UNEQUIPPED;
	}
	rdm_cache_leave(cache);
	if (chores.full)
		*blocks = RDM_MAGAZINE_BLOCKS;
	do_chores(pool, class, &chores);
	return outcome;
}

void rdm_magazine_free(struct rdm_pool *pool, unsigned class, void *block)
{
	size_t first = first_allowance(class);
	struct rdm_cache *cache;
	enum push outcome = LOCKED;

	if (!budget) {
		rdm_arena_free(block, class);
		return;
	}
	cache = cache_of(pool);
	if (cache)
		outcome = push(cache, pool, class, block, &first);
	if (outcome == UNEQUIPPED && equip(cache, pool, class, first))
		outcome = push(cache, pool, class, block, &first);
	if (outcome != PUSHED)
		put_back(pool, class, &block, 1);
}

/* The registry's lock is held, and the cache's thread keeps off or is gone. */
static void flush(struct rdm_cache *cache)
{
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		if (cache->stacks[c].floor)
			rdm_depot_give(&cache->home->depot, c, unload(cache, c));
}

static size_t held_bytes(const struct rdm_cache *cache)
{
	size_t bytes = 0;

	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++) {
		const struct rdm_stack *stack = &cache->stacks[c];
		void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);

		if (stack->floor)
			bytes += (size_t)(top - stack->floor) * rdm_class_size(c);
	}
	return bytes;
}

/* Runs before jemalloc's own destructor, because its key is older. */
static void leave_registry(void *arg)
{
	struct rdm_thread *thread = arg;

	rdm_magazine_tls.hot = &no_cache;
	self = &outsider;
	for (unsigned i = 0; i < thread->slots; i++) {
		struct rdm_cache *cache = thread->caches[i];

		if (!cache)
			continue;
		pthread_mutex_lock(&registry);
		if (cache->home) {
			flush(cache);
			LIST_REMOVE(cache, link);
		}
		pthread_mutex_unlock(&registry);
		rdm_meta_free(cache);
	}
	rdm_meta_free(thread->caches);
	rdm_meta_free(thread);
}

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

int rdm_magazines_open(void)
{
	/* Now it is quick: there is one thread. */
	membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	budget = rdm_conf()->magazine;
	rdm_static_tls_open();
	return pthread_key_create(&key, leave_registry);
}

/* Whether every other thread has seen what we wrote, and we what it did before. */
static bool order_all_threads(void)
{
	static bool complained;

	if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return true;
	if (errno == EPERM && !membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
	    !membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		return true;
	if (!complained)
		rdm_log(RDM_LOG_WARN,
			"membarrier(2) fails (%s): what other threads keep in their magazines "
			"cannot be had from here",
			strerror(errno));
	complained = true;
	return false;
}

/* Whether the cache's thread did not come with us through fork(). */
static bool is_orphan(const struct rdm_cache *cache)
{
	return atomic_load(&cache->home->inherited) && cache->owner != survivor;
}

/*
 * Keeps every thread out of its cache of the pool. False: the others are not
 * to be touched. idle: nobody uses the pool, so they can be in any case.
 */
static bool lock_caches(struct rdm_pool *pool, bool idle)
{
	struct rdm_cache *cache;
	bool ordered;

	pthread_mutex_lock(&registry);
	LIST_FOREACH (cache, &pool->caches, link)
		atomic_store(&cache->pool, RDM_NO_POOL);
	if (idle || rdm_ablated(RDM_ABLATE_WAIT))
		return true;
	ordered = order_all_threads();
	LIST_FOREACH (cache, &pool->caches, link)
		while (ordered && !is_orphan(cache) &&
		       atomic_load_explicit(&cache->busy, memory_order_acquire))
			sched_yield();
	return ordered;
}

static void unlock_caches(struct rdm_pool *pool)
{
	struct rdm_cache *cache;

	if (!atomic_load(&pool->inherited))
		LIST_FOREACH (cache, &pool->caches, link)
			atomic_store_explicit(&cache->pool, pool, memory_order_release);
	pthread_mutex_unlock(&registry);
}

/* Moves what the threads have to the depot. */
static void flush_all(struct rdm_pool *pool, bool idle)
{
	bool all = lock_caches(pool, idle);
	struct rdm_cache *cache;

	LIST_FOREACH (cache, &pool->caches, link)
		if ((all || cache->owner == self) && !is_orphan(cache))
			flush(cache);
	unlock_caches(pool);
}

void rdm_magazines_drain_depot(struct rdm_pool *pool)
{
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++) {
		struct rdm_magazine *list = rdm_depot_take_all(&pool->depot, c);

		for (const struct rdm_magazine *each = list; each; each = each->next)
			for (size_t i = 0; i < each->count; i++)
				rdm_arena_free(each->blocks[i], c);
		rdm_magazines_free(list);
	}
}

void rdm_magazines_drain(struct rdm_pool *pool)
{
	flush_all(pool, false);
	rdm_magazines_drain_depot(pool);
}

/* What orphans hold goes to the depot, unless their thread was in the midst of moving it. */
static void bury_orphans(struct rdm_pool *pool)
{
	struct rdm_cache *cache, *next;

	pthread_mutex_lock(&registry);
	for (cache = LIST_FIRST(&pool->caches); cache; cache = next) {
		next = LIST_NEXT(cache, link);
		if (!is_orphan(cache))
			continue;
		if (!atomic_load(&cache->busy))
			flush(cache);
		LIST_REMOVE(cache, link);
		rdm_meta_free(cache);
	}
	pthread_mutex_unlock(&registry);
}

void rdm_magazines_forget(struct rdm_pool *pool)
{
	bury_orphans(pool);
	flush_all(pool, true);
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		rdm_magazines_free(rdm_depot_take_all(&pool->depot, c));
}

void rdm_magazines_close(struct rdm_pool *pool)
{
	struct rdm_cache *cache;

	pthread_mutex_lock(&registry);
	while ((cache = LIST_FIRST(&pool->caches))) {
		flush(cache);
		LIST_REMOVE(cache, link);
		cache->home = NULL;
		atomic_store_explicit(&cache->pool, NULL, memory_order_release);
	}
	pthread_mutex_unlock(&registry);
	rdm_depot_destroy(&pool->depot);
}

void rdm_magazines_adopt(struct rdm_pool *pool)
{
	struct rdm_cache *cache;

	bury_orphans(pool);
	pthread_mutex_lock(&registry);
	LIST_FOREACH (cache, &pool->caches, link)
		atomic_store_explicit(&cache->pool, pool, memory_order_release);
	pthread_mutex_unlock(&registry);
}

size_t rdm_magazines_bytes(struct rdm_pool *pool)
{
	bool all = lock_caches(pool, false);
	const struct rdm_cache *cache;
	size_t bytes = 0;

	LIST_FOREACH (cache, &pool->caches, link)
		if ((all || cache->owner == self) && !is_orphan(cache))
			bytes += held_bytes(cache);
	unlock_caches(pool);
	return bytes;
}

void rdm_thread_flush(void)
{
	const struct rdm_thread *thread = self;

	if (!thread)
		return;
	for (unsigned i = 0; i < thread->slots; i++) {
		struct rdm_cache *cache = thread->caches[i];

		if (!cache)
			continue;
		pthread_mutex_lock(&registry);
		if (cache->home)
			flush(cache);
		pthread_mutex_unlock(&registry);
	}
}

void rdm_magazines_prefork(void)
{
	pthread_mutex_lock(&registry);
}

void rdm_magazines_postfork(void)
{
	pthread_mutex_unlock(&registry);
}

void rdm_magazines_postfork_child(struct rdm_pool *pool)
{
	const struct rdm_thread *thread = self;

	survivor = thread;
	/* The others' caches are left alone: fork() should not copy their pages. */
	if (thread && pool->slot < thread->slots && thread->caches[pool->slot])
		atomic_store(&thread->caches[pool->slot]->pool, RDM_NO_POOL);
}
