/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/caches.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "heap/arena.h"
#include "heap/excess.h"
#include "heap/heap.h"
#include "memory/meta.h"
#include "rdmalloc.h"
#include "sync/gate.h"
#include "sync/late.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

/* So many at most are those of a thread that ends. */
#define LATE_FREES 256

/* How often the caches are looked at, and how often one must look the same to be taken for a sleeper's. */
#define LOOK_MS 250
#define LOOKS 4

/* The caches of a thread, by its heaps' slots. */
struct rdm_thread {
	struct rdm_cache **caches;
	unsigned slots;
	unsigned hand;       /* the slot that was asked to give way last */
	_Atomic size_t held; /* bytes that the caches' stacks may hold */
};

/* A thread that has none (yet), and must not make one now. */
static struct rdm_thread outsider;

#define self (rdm_tls.self)

/* In a child: the thread that forked. It alone has what is in inherited heaps' caches. */
static const struct rdm_thread *survivor;

static pthread_key_t key;
/* Guards the heaps' lists of caches. Under it: depots only. */
static struct rdm_lock registry = RDM_LOCK_INIT(RDM_RANK_REGISTRY);

static struct rdm_thread *join_registry(void)
{
	struct rdm_thread *thread = rdm_meta_alloc(sizeof(*thread));

	rdm_assert(!self);
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

	rdm_assert(thread != &outsider);
	if (slot < thread->slots)
		return true;
	while (slots <= slot)
		slots *= 2;
	caches = rdm_meta_alloc(slots * sizeof(struct rdm_cache *));
	if (!caches)
		return false;
	if (thread->slots)
		memcpy(caches, thread->caches, thread->slots * sizeof(struct rdm_cache *));
	rdm_meta_free(thread->caches);
	thread->caches = caches;
	thread->slots = slots;
	return true;
}

static void settle(struct rdm_cache *cache, struct rdm_heap *heap)
{
	rdm_assert(!cache->home);
	rdm_lock_take(&registry);
	cache->home = heap;
	LIST_INSERT_HEAD(&heap->caches, cache, link);
	atomic_store_explicit(&cache->heap, heap, memory_order_release);
	rdm_lock_release(&registry);
}

bool rdm_caches_may_be_late(void)
{
	return !self && rdm_tls.frees++ < LATE_FREES;
}

/*
 * A CPU takes addresses that are a multiple of 4 KiB apart for one (state.c), and keeps a few lines
 * only that are: a thread's caches begin at different places in their pages.
 */
#define PAGE ((size_t)4096)
#define COLOURS 16

static struct rdm_cache *make_cache(unsigned slot)
{
	size_t colour = slot % COLOURS * (PAGE / COLOURS);
	char *page = rdm_meta_alloc_aligned(colour + sizeof(struct rdm_cache), PAGE);

	return page ? (struct rdm_cache *)(void *)(page + colour) : NULL;
}

static void free_cache(struct rdm_cache *cache)
{
	rdm_assert(cache);
	rdm_meta_free((void *)((uintptr_t)cache & ~(PAGE - 1)));
}

/* The calling thread's, or a new one; NULL: there can be none. */
static struct rdm_cache *find_cache(const struct rdm_heap *heap)
{
	struct rdm_thread *thread = self ? self : join_registry();
	struct rdm_cache *cache;

	if (thread == &outsider || !make_slot(thread, heap->slot))
		return NULL;
	cache = thread->caches[heap->slot];
	if (cache)
		return cache;
	cache = make_cache(heap->slot);
	if (!cache)
		return NULL;
	cache->owner = thread;
	cache->held = &thread->held;
	thread->caches[heap->slot] = cache;
	return cache;
}

struct rdm_cache *rdm_caches_of(struct rdm_heap *heap)
{
	struct rdm_cache *cache;

	rdm_assert(rdm_gate_is_inside());
	if (!rdm_patience_asks(&rdm_tls.patience))
		return NULL;
	cache = find_cache(heap);
	rdm_patience_learns(&rdm_tls.patience, cache);
	if (!cache)
		return NULL;
	if (!atomic_load_explicit(&cache->heap, memory_order_acquire))
		settle(cache, heap);
	rdm_tls.hot[rdm_heap_place(heap)] = cache;
	return cache;
}

/* Moves what the cache has to its depot; a heap that returns memory is never closed. */
static void empty(struct rdm_cache *cache, bool for_ever)
{
	struct rdm_heap *home;

	rdm_assert(rdm_gate_is_inside());
	rdm_lock_take(&registry);
	home = cache->home;
	if (home)
		rdm_cache_flush(cache);
	if (home && for_ever)
		LIST_REMOVE(cache, link);
	if (home && !home->returns)
		home = NULL;
	rdm_lock_release(&registry);
	if (home)
		rdm_excess_return(home, 1);
}

void rdm_caches_relieve(const struct rdm_cache *cache)
{
	struct rdm_thread *thread = self;
	size_t before = atomic_load_explicit(&thread->held, memory_order_relaxed);

	rdm_assert(cache->owner == thread);
	for (unsigned i = 0; i < thread->slots; i++) {
		struct rdm_cache *other;

		thread->hand = (thread->hand + 1) % thread->slots;
		other = thread->caches[thread->hand];
		/* Busy: we are in a signal handler that has interrupted its use. */
		if (!other || other == cache ||
		    atomic_load_explicit(&other->busy, memory_order_relaxed))
			continue;
		empty(other, false);
		if (atomic_load_explicit(&thread->held, memory_order_relaxed) < before)
			return;
	}
}

void rdm_caches_end_thread(struct rdm_thread *thread)
{
	rdm_assert(rdm_gate_is_inside());
	rdm_assert(thread && thread != &outsider);
	/* It may have been cancelled, by the asynchronous type, between enter and leave. */
	for (unsigned i = 0; i < thread->slots; i++)
		if (thread->caches[i])
			rdm_cache_leave(thread->caches[i]);
	for (unsigned i = 0; i < thread->slots; i++) {
		struct rdm_cache *cache = thread->caches[i];

		if (!cache)
			continue;
		empty(cache, true);
		free_cache(cache);
	}
	rdm_meta_free(thread->caches);
	rdm_meta_free(thread);
}

/* Runs before jemalloc's own destructor, because its key is older. */
static void leave_registry(void *arg)
{
	rdm_tls_cool();
	self = &outsider;
	/* Somebody may hold a lock of the C library's while he waits for this thread's end. */
	if (!rdm_gate_try()) {
		rdm_late_put(arg, RDM_LATE_THREAD, 0);
		return;
	}
	rdm_caches_end_thread(arg);
	rdm_gate_leave();
}

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

int rdm_caches_open(void)
{
	/* Now it is quick: there is one thread. */
	membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
	rdm_cache_budget = rdm_conf()->magazine;
	return pthread_key_create(&key, leave_registry);
}

/* Whether every other thread has seen what we wrote, and we what it did before. */
static bool order_all_threads(void)
{
	static bool complained;

	/* In a sandbox it would end the process. */
	if (rdm_sandbox_is_entered())
		return false;
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
	rdm_assert(rdm_lock_is_mine(&registry));
	rdm_assert(cache->home);
	return atomic_load(&cache->home->inherited) && cache->owner != survivor;
}

/*
 * Keeps every thread out of its cache of the heap. False: the others are not
 * to be touched. idle: nobody uses the heap, so they can be in any case.
 */
static bool lock_caches(struct rdm_heap *heap, bool idle)
{
	struct rdm_cache *cache;
	bool ordered;

	rdm_assert(rdm_quiesce_is_held());
	rdm_lock_take(&registry);
	LIST_FOREACH (cache, &heap->caches, link)
		atomic_store(&cache->heap, RDM_NO_HEAP);
	if (idle || rdm_ablated(RDM_ABLATE_WAIT))
		return true;
	ordered = order_all_threads();
	LIST_FOREACH (cache, &heap->caches, link)
		while (ordered && !is_orphan(cache) &&
		       atomic_load_explicit(&cache->busy, memory_order_acquire))
			sched_yield();
	return ordered;
}

static void unlock_caches(struct rdm_heap *heap)
{
	struct rdm_cache *cache;

	rdm_assert(rdm_lock_is_mine(&registry));
	if (!atomic_load(&heap->inherited))
		LIST_FOREACH (cache, &heap->caches, link)
			atomic_store_explicit(&cache->heap, heap, memory_order_release);
	rdm_lock_release(&registry);
}

/* Moves what the threads have to the depot. */
static void flush_all(struct rdm_heap *heap, bool idle)
{
	bool all = lock_caches(heap, idle);
	struct rdm_cache *cache;

	LIST_FOREACH (cache, &heap->caches, link)
		if ((all || cache->owner == self) && !is_orphan(cache))
			rdm_cache_flush(cache);
	unlock_caches(heap);
}

/* Keeps the threads of caches that sleep out of them. Whether there are any. */
static bool lock_sleepers(struct rdm_heap *heap)
{
	struct rdm_cache *cache;
	bool any = false;

	rdm_assert(rdm_lock_is_mine(&registry));
	LIST_FOREACH (cache, &heap->caches, link)
		if (rdm_cache_sleeps(cache, LOOKS) && cache->owner != self) {
			atomic_store(&cache->heap, RDM_NO_HEAP);
			any = true;
		}
	return any;
}

/* One whose thread is just in it does not sleep: it keeps what it has. */
static void flush_sleepers(struct rdm_heap *heap)
{
	bool ordered = order_all_threads();
	struct rdm_cache *cache;

	rdm_assert(rdm_lock_is_mine(&registry));
	LIST_FOREACH (cache, &heap->caches, link) {
		if (atomic_load_explicit(&cache->heap, memory_order_relaxed) != RDM_NO_HEAP)
			continue;
		if (ordered && !atomic_load_explicit(&cache->busy, memory_order_acquire))
			rdm_cache_flush(cache);
		atomic_store_explicit(&cache->heap, heap, memory_order_release);
	}
}

void rdm_caches_look(struct rdm_heap *heap)
{
	uint32_t now = rdm_clock_ms(), before = atomic_load(&heap->looked);

	rdm_assert(rdm_gate_is_inside());
	if (now - before < LOOK_MS || atomic_load(&heap->inherited) ||
	    !atomic_compare_exchange_strong(&heap->looked, &before, now))
		return;
	/* Who has it looks at the caches, too. */
	if (!rdm_lock_try(&registry))
		return;
	if (!atomic_load(&heap->inherited) && lock_sleepers(heap))
		flush_sleepers(heap);
	rdm_lock_release(&registry);
	rdm_excess_return(heap, 1);
}

bool rdm_caches_drain_depot(struct rdm_heap *heap)
{
	bool drained = false;

	rdm_assert(rdm_quiesce_is_held());
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++) {
		struct rdm_magazine *list = rdm_depot_take_all(&heap->depot, c);

		for (const struct rdm_magazine *each = list; each; each = each->next)
			for (size_t i = 0; i < each->count; i++)
				rdm_arena_free(each->blocks[i], c);
		drained = drained || list;
		rdm_magazines_free(list);
	}
	return drained;
}

bool rdm_caches_drain(struct rdm_heap *heap)
{
	rdm_assert(rdm_quiesce_is_held());
	flush_all(heap, false);
	return rdm_caches_drain_depot(heap);
}

/* What they hold goes to the depot, unless their thread was in the midst of moving it. */
static void bury(struct rdm_heap *heap, const struct rdm_thread *except, bool inherited)
{
	struct rdm_cache *cache, *next;
	struct rdm_caches buried = LIST_HEAD_INITIALIZER(buried);

	rdm_assert(rdm_quiesce_is_held());
	rdm_lock_take(&registry);
	for (cache = LIST_FIRST(&heap->caches); cache; cache = next) {
		next = LIST_NEXT(cache, link);
		if (cache->owner == except || atomic_load(&heap->inherited) != inherited)
			continue;
		if (!atomic_load(&cache->busy))
			rdm_cache_flush(cache);
		LIST_REMOVE(cache, link);
		LIST_INSERT_HEAD(&buried, cache, link);
	}
	rdm_lock_release(&registry);
	while ((cache = LIST_FIRST(&buried))) {
		LIST_REMOVE(cache, link);
		free_cache(cache);
	}
}

static void bury_orphans(struct rdm_heap *heap)
{
	bury(heap, survivor, true);
}

void rdm_caches_bury(struct rdm_heap *heap)
{
	bury(heap, self, false);
}

void rdm_caches_forget(struct rdm_heap *heap)
{
	rdm_assert(rdm_quiesce_is_held());
	bury_orphans(heap);
	flush_all(heap, true);
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		rdm_magazines_free(rdm_depot_take_all(&heap->depot, c));
}

void rdm_caches_close(struct rdm_heap *heap)
{
	struct rdm_cache *cache;

	rdm_assert(rdm_quiesce_is_held());
	rdm_lock_take(&registry);
	while ((cache = LIST_FIRST(&heap->caches))) {
		rdm_cache_flush(cache);
		LIST_REMOVE(cache, link);
		cache->home = NULL;
		atomic_store_explicit(&cache->heap, NULL, memory_order_release);
	}
	rdm_lock_release(&registry);
	rdm_depot_destroy(&heap->depot);
}

void rdm_caches_adopt(struct rdm_heap *heap)
{
	struct rdm_cache *cache;

	rdm_assert(rdm_quiesce_is_held());
	bury_orphans(heap);
	rdm_lock_take(&registry);
	LIST_FOREACH (cache, &heap->caches, link)
		atomic_store_explicit(&cache->heap, heap, memory_order_release);
	rdm_lock_release(&registry);
}

size_t rdm_caches_bytes(struct rdm_heap *heap)
{
	bool all = lock_caches(heap, false);
	const struct rdm_cache *cache;
	size_t bytes = 0;

	rdm_assert(rdm_quiesce_is_held());
	LIST_FOREACH (cache, &heap->caches, link)
		if ((all || cache->owner == self) && !is_orphan(cache))
			bytes += rdm_cache_bytes(cache);
	unlock_caches(heap);
	return bytes;
}

void rdm_thread_flush(void)
{
	const struct rdm_thread *thread = self;

	if (!thread || !rdm_gate_enter())
		return;
	for (unsigned i = 0; i < thread->slots; i++)
		if (thread->caches[i])
			empty(thread->caches[i], false);
	rdm_gate_leave();
}

void rdm_caches_postfork_child(struct rdm_heap *heap)
{
	const struct rdm_thread *thread = self;

	survivor = thread;
	/* The others' caches are left alone: fork() should not copy their pages. */
	if (thread && heap->slot < thread->slots && thread->caches[heap->slot])
		atomic_store(&thread->caches[heap->slot]->heap, RDM_NO_HEAP);
}
