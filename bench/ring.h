/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_RING_H
#define BENCH_RING_H

/*
 * A bounded ring of pointers from one thread to another. Each side looks at the
 * other's index only when its own copy says that it must wait, so that the ring
 * costs as little as it can beside what is measured.
 */

#include <sched.h>
#include <stdatomic.h>

#define BENCH_RING 256
#define BENCH_SPINS 1000

struct bench_ring {
	_Alignas(128) _Atomic(unsigned) head; /* put so far */
	unsigned tail_seen;
	_Alignas(128) _Atomic(unsigned) tail; /* taken so far */
	unsigned head_seen;
	_Alignas(128) void *slot[BENCH_RING];
};

static inline void bench_relax(unsigned *spins)
{
	if (++*spins % BENCH_SPINS == 0)
		sched_yield();
#ifdef __x86_64__
	__builtin_ia32_pause();
#endif
}

static inline void bench_put(struct bench_ring *ring, void *block)
{
	unsigned head = atomic_load_explicit(&ring->head, memory_order_relaxed);
	unsigned spins = 0;

	while (head - ring->tail_seen == BENCH_RING) {
		ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
		if (head - ring->tail_seen == BENCH_RING)
			bench_relax(&spins);
	}
	ring->slot[head % BENCH_RING] = block;
	atomic_store_explicit(&ring->head, head + 1, memory_order_release);
}

static inline void *bench_get(struct bench_ring *ring)
{
	unsigned tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	unsigned spins = 0;
	void *block;

	while (tail == ring->head_seen) {
		ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
		if (tail == ring->head_seen)
			bench_relax(&spins);
	}
	block = ring->slot[tail % BENCH_RING];
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
	return block;
}

#endif
