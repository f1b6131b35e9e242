/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_MAGAZINE_H
#define RDM_MAGAZINE_H

/*
 * What a thread keeps of a pool's free blocks: a cache with a stack for each
 * class, bounded by what all of them may hold together (RDMALLOC_CONF=magazine).
 * What a stack has too much or too little goes to or comes from the depot, half
 * a stack at a time; that is a trade. Classes that trade often may have more, those
 * that are not used give way. What nobody takes from the depot for some time
 * goes to the arena. Blocks in here are free: their state is 0.
 *
 * Only its thread uses a cache, without a lock, between enter and leave, where
 * nothing is called. Whoever else wants it (trim, statistics) makes it
 * nobody's (pool = NO_POOL), lets membarrier() order that against the thread's
 * mark, and waits for leave.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/size_class.h"
#include "heap/depot.h"
#include "heap/static_tls.h"

struct rdm_pool;

/* No pool has this address. */
#define RDM_NO_POOL ((struct rdm_pool *)1)

struct rdm_stack {
	_Atomic(void **) top; /* after the last block */
	void **floor;         /* of the magazine that is loaded, or NULL */
	void **ceiling;       /* as many blocks above as the class may have */
	void **seen;          /* the top when another class last wanted room */
};

struct rdm_cache {
	union {
		struct {
			_Atomic bool busy;
			_Atomic(struct rdm_pool *) pool; /* home, while its thread may use it */
			size_t bytes;                    /* that the stacks may hold */
			unsigned hand;   /* the class that was asked to give way last */
			unsigned chores; /* how often its thread did some for the depot */
		};
		/* By class; there is no class 0. */
		struct rdm_stack stacks[RDM_CLASS_MAX + 1];
	};
	uint32_t due[RDM_CLASS_MAX + 1]; /* when a class that trades seldom would trade next; ms */
	/* Under the registry's lock. */
	struct rdm_pool *home; /* NULL: vacant */
	const struct rdm_thread *owner;
	LIST_ENTRY(rdm_cache) link;
};
LIST_HEAD(rdm_caches, rdm_cache);

struct rdm_thread;
struct rdm_magazine_tls {
	struct rdm_cache *hot; /* of the pool that the thread used last; never NULL */
	struct rdm_thread *self;
};
extern __thread struct rdm_magazine_tls rdm_magazine_tls __attribute__((visibility("hidden")));

static inline bool rdm_cache_enter(struct rdm_cache *cache, const struct rdm_pool *pool)
{
	atomic_store_explicit(&cache->busy, true, memory_order_relaxed);
	/* Against reordering by the compiler; the other side's membarrier() is for the CPU. */
	atomic_signal_fence(memory_order_seq_cst);
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	{
		bool same;

		/* What an acquiring load is here, but compared where it lies. */
		__asm__("cmp %2, %1" : "=@cce"(same) : "m"(cache->pool), "r"(pool) : "memory");
		return same;
	}
#else
	return atomic_load_explicit(&cache->pool, memory_order_acquire) == pool;
#endif
}

static inline void rdm_cache_leave(struct rdm_cache *cache)
{
	atomic_store_explicit(&cache->busy, false, memory_order_release);
}

/* NULL when the stack is empty. */
static inline void *rdm_stack_pop(struct rdm_stack *stack)
{
	void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);

	if (__builtin_expect(top == stack->floor, 0))
		return NULL;
	atomic_store_explicit(&stack->top, top - 1, memory_order_relaxed);
	return top[-1];
}

/* False when the stack is full. */
static inline bool rdm_stack_push(struct rdm_stack *stack, void *block)
{
	void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);

	if (__builtin_expect(top == stack->ceiling, 0))
		return false;
	*top = block;
	atomic_store_explicit(&stack->top, top + 1, memory_order_relaxed);
	return true;
}

/* What may be served without a call: no class and no byte where the hot cache is found by one. */
struct rdm_quick {
	size_t classes;
	size_t units; /* of the reserve */
};
extern struct rdm_quick rdm_quick __attribute__((visibility("hidden")));

/* Under the quiesce lock, when the reserve is open. */
void rdm_magazine_quicken(size_t reserve);

static inline struct rdm_cache *rdm_cache_hot(void)
{
#ifdef RDM_STATIC_TLS
	return rdm_static_tls_first();
#else
	return rdm_magazine_tls.hot;
#endif
}

/* A free block of a quick class from the hot cache; NULL: ask rdm_magazine_alloc(). */
static inline void *rdm_magazine_pop(const struct rdm_pool *pool, size_t class)
{
	struct rdm_cache *cache = rdm_cache_hot();

	if (__builtin_expect(rdm_cache_enter(cache, pool), 1)) {
		struct rdm_stack *stack = &cache->stacks[class];
		void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);

		if (__builtin_expect(top != stack->floor, 1)) {
			void *block = top[-1];

			atomic_store_explicit(&stack->top, top - 1, memory_order_relaxed);
			rdm_cache_leave(cache);
			/* The caller need not ask again. */
			if (!block)
				__builtin_unreachable();
			return block;
		}
	}
	rdm_cache_leave(cache);
	return NULL;
}

/* Whether the hot cache took a free block; else it is for rdm_magazine_free(). */
static inline bool rdm_magazine_push(const struct rdm_pool *pool, size_t class, void *block)
{
	struct rdm_cache *cache = rdm_cache_hot();

	if (__builtin_expect(rdm_cache_enter(cache, pool), 1)) {
		struct rdm_stack *stack = &cache->stacks[class];
		void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);

		if (__builtin_expect(top != stack->ceiling, 1)) {
			*top = block;
			atomic_store_explicit(&stack->top, top + 1, memory_order_relaxed);
			rdm_cache_leave(cache);
			return true;
		}
	}
	rdm_cache_leave(cache);
	return false;
}

/* A block from the calling thread's cache or the depot; NULL: ask the arena. */
void *rdm_magazine_alloc(struct rdm_pool *pool, unsigned class);
/* Takes a free block, to the arena when nothing else will have it. */
void rdm_magazine_free(struct rdm_pool *pool, unsigned class, void *block);

/* Bytes that a cache may hold; 0: there are no caches and no depots in use. */
extern size_t rdm_magazine_budget __attribute__((visibility("hidden")));

/* For caches.c, when the cache is nobody's: what it holds, and all of it to the depot. */
size_t rdm_magazine_bytes(const struct rdm_cache *cache);
void rdm_magazine_flush(struct rdm_cache *cache);

#endif
