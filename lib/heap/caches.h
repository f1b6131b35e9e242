/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CACHES_H
#define RDM_CACHES_H

/*
 * Which thread has which caches (cache.h): they are made when a thread first
 * misses, and drained when it ends. A registry, under a lock of its own, knows
 * them all, so that they can be had from other threads. Under the registry's
 * lock only depots are called. It is taken inside the gate or the quiesce lock, so that fork()
 * finds it free.
 */

#include <stdbool.h>
#include <stddef.h>

#include "heap/heap.h"

/* The calling thread's cache of a heap, hot from now on; inside the gate. NULL: it must do without. */
struct rdm_cache *rdm_caches_of(struct rdm_heap *heap);

/*
 * For a cache of the calling thread's, inside the gate: what one of the thread's others holds goes
 * to its depot.
 */
void rdm_caches_relieve(const struct rdm_cache *cache);

/*
 * For a thread that frees: whether it may be one that ends, whose destructors have run. What
 * joins then never leaves. glibc frees a few blocks that late, and nothing allocates.
 */
bool rdm_caches_may_be_late(void);

/* Once a process, before jemalloc starts: thread exit drains before jemalloc's own. */
int rdm_caches_open(void);

/*
 * Under the quiesce lock. drain_depot and drain (every thread's caches, too)
 * give blocks back to the arena, and say whether there were any; forget drops them, because the arena will be
 * reset. close, after it, ends all caches of a heap that goes away. adopt: an
 * inherited heap is in use again.
 */
bool rdm_caches_drain_depot(struct rdm_heap *heap);
bool rdm_caches_drain(struct rdm_heap *heap);
void rdm_caches_forget(struct rdm_heap *heap);
void rdm_caches_close(struct rdm_heap *heap);
void rdm_caches_adopt(struct rdm_heap *heap);
/* In a child, of a heap that goes on: ends the caches of the threads that did not come with us. */
void rdm_caches_bury(struct rdm_heap *heap);

/*
 * From time to time, by any thread, inside the gate, with no lock: what threads have that seem to
 * sleep for a second goes to the depot.
 */
void rdm_caches_look(struct rdm_heap *heap);

/* Bytes of free blocks in the threads' caches; under the quiesce lock. */
size_t rdm_caches_bytes(struct rdm_heap *heap);

/* The part of a thread that ended when the gate was closed; inside it. */
struct rdm_thread;
void rdm_caches_end_thread(struct rdm_thread *thread);

/* Of one heap, in the child: its other threads are gone, and the heap waits to be adopted. */
void rdm_caches_postfork_child(struct rdm_heap *heap);

#endif
