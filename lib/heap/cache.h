/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CACHE_H
#define RDM_CACHE_H

/*
 * What a thread keeps of a heap's free blocks: a cache with a stack for each
 * class. What all stacks of a thread may hold together, of all heaps, is bounded
 * (RDMALLOC_CONF=magazine).
 * Blocks in here are free: their state is 0.
 *
 * Only its thread uses a cache, without a lock, between enter and leave, where
 * nothing is called. Whoever else wants it (trim, statistics) makes it
 * nobody's (heap = NO_HEAP), lets membarrier() order that against the thread's
 * mark, and waits for leave.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/size_class.h"
#include "heap/magazine.h"
#include "heap/tls.h"

struct rdm_heap;
struct rdm_thread;

/* No heap has this address. */
#define RDM_NO_HEAP ((struct rdm_heap *)1)

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
			_Atomic(struct rdm_heap *) heap; /* home, while its thread may use it */
			_Atomic size_t *held; /* bytes that all stacks of its thread may hold */
			unsigned hand;        /* the class that was asked to give way last */
			unsigned chores;      /* how often its thread did some for the depot */
		};
		/* By class; there is no class 0. */
		struct rdm_stack stacks[RDM_CLASS_MAX + 1];
	};
	uint32_t due[RDM_CLASS_MAX + 1]; /* when a class that trades seldom would trade next; ms */
	bool drawn[RDM_CLASS_MAX + 1];   /* the depot had blocks when the stack had none */
	/* Under the registry's lock. */
	struct rdm_heap *home; /* NULL: vacant */
	const struct rdm_thread *owner;
	uintptr_t sum;   /* of the tops, at the last look */
	unsigned asleep; /* looks since they were others */
	LIST_ENTRY(rdm_cache) link;
};
LIST_HEAD(rdm_caches, rdm_cache);

static inline bool rdm_cache_enter(struct rdm_cache *cache, const struct rdm_heap *heap)
{
	atomic_store_explicit(&cache->busy, true, memory_order_relaxed);
	/* Against reordering by the compiler; the other side's membarrier() is for the CPU. */
	atomic_signal_fence(memory_order_seq_cst);
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
	{
		bool same;

		/* What an acquiring load is here, but compared where it lies. */
		__asm__("cmp %2, %1" : "=@cce"(same) : "m"(cache->heap), "r"(heap) : "memory");
		return same;
	}
#else
	return atomic_load_explicit(&cache->heap, memory_order_acquire) == heap;
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

/* Blocks that the stack may have. */
static inline size_t rdm_stack_allowance(const struct rdm_stack *stack)
{
	return (size_t)(stack->ceiling - stack->floor);
}

/*
 * A stack may have so many bytes more (or, modulo 2^64, less). Mostly its thread says so, and
 * sometimes one that has made the cache nobody's.
 */
static inline void rdm_cache_count(struct rdm_cache *cache, size_t bytes)
{
	atomic_fetch_add_explicit(cache->held, bytes, memory_order_relaxed);
}

/* The magazine of a stack that has one. The stack has none, then. */
static inline struct rdm_magazine *rdm_cache_unload(struct rdm_cache *cache, unsigned class)
{
	struct rdm_stack *stack = &cache->stacks[class];
	void **top = atomic_load_explicit(&stack->top, memory_order_relaxed);
	struct rdm_magazine *magazine;

	magazine = (void *)((char *)stack->floor - offsetof(struct rdm_magazine, blocks));
	magazine->count = (size_t)(top - stack->floor);
	rdm_cache_count(cache, -(rdm_stack_allowance(stack) * rdm_class_size(class)));
	stack->floor = stack->ceiling = NULL;
	atomic_store_explicit(&stack->top, NULL, memory_order_relaxed);
	return magazine;
}

/* What may be served without a call: no class and no byte where the hot ones are found by one. */
struct rdm_quick {
	size_t classes;
	size_t units; /* of the reserve, as far as slabs have been; grows */
};
extern struct rdm_quick rdm_quick __attribute__((visibility("hidden")));

static inline size_t rdm_quick_classes(void)
{
	return __atomic_load_n(&rdm_quick.classes, __ATOMIC_RELAXED);
}

/* Acquire: who gets an answer finds the tables beside the reserve. */
static inline size_t rdm_quick_units(void)
{
	return __atomic_load_n(&rdm_quick.units, __ATOMIC_ACQUIRE);
}

/* Under the quiesce lock, when the reserve is open, and whenever it has become longer. */
void rdm_cache_quicken(void);

/* A free block of a quick class from the heap's place's cache; NULL: ask rdm_trade_alloc(). */
static inline void *rdm_cache_pop(const struct rdm_heap *heap, size_t place, size_t class)
{
	struct rdm_cache *cache = rdm_tls_hot(place);

	if (__builtin_expect(rdm_cache_enter(cache, heap), 1)) {
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

/* Whether the cache at the heap's place took a free block; else it is for rdm_trade_free(). */
static inline bool rdm_cache_push(const struct rdm_heap *heap, size_t place, size_t class,
				  void *block)
{
	struct rdm_cache *cache = rdm_tls_hot(place);

	if (__builtin_expect(rdm_cache_enter(cache, heap), 1)) {
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

/* Bytes that a thread's caches may hold, of all heaps together; 0: there are no caches and no depots in use. */
extern size_t rdm_cache_budget __attribute__((visibility("hidden")));

/* When the cache is nobody's, or its own thread asks: what it holds, and all of it to the depot. */
size_t rdm_cache_bytes(const struct rdm_cache *cache);
void rdm_cache_flush(struct rdm_cache *cache);

/*
 * Under the registry's lock: whether its thread sleeps, as it seems, since so many calls, and
 * it holds blocks.
 */
bool rdm_cache_sleeps(struct rdm_cache *cache, unsigned calls);

#endif
