/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TLS_H
#define RDM_TLS_H

/*
 * A thread's caches found without a call. A library that dlopen() may load
 * must go through __tls_get_addr(), for there may be no room left for it in the
 * threads' static blocks. But if it was there when the program started, it lies
 * in those blocks, as far from the thread pointer in one thread as in the next.
 * Which of the two the loader says in the variable's TLS descriptor.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/patience.h"

struct rdm_cache;
struct rdm_thread;

/*
 * Heaps share a place when there are more of them. A preload serves one, and takes no more of
 * its threads' stacks, where glibc puts this, than it must.
 */
#ifdef RDM_PRELOAD
#define RDM_TLS_PLACES 1
#else
#define RDM_TLS_PLACES 256
#endif

struct rdm_tls {
	/* Of the heaps that the thread used last; never NULL. */
	struct rdm_cache *hot[RDM_TLS_PLACES];
	struct rdm_thread *self;
	unsigned frees;               /* of a thread that has nothing else to do with us */
	struct rdm_patience patience; /* with memory for its caches */
};
extern __thread struct rdm_tls rdm_tls __attribute__((visibility("hidden")));

/* Stands for a cache where there is none; nothing is ever in it. */
extern struct rdm_cache rdm_tls_no_cache __attribute__((visibility("hidden")));

#if defined(__x86_64__) && defined(__SEG_FS)
#define RDM_STATIC_TLS

/* Of rdm_tls, from the thread pointer. */
extern intptr_t rdm_tls_distance __attribute__((visibility("hidden")));

/*
 * One of the pointers at its start in the calling thread, none of which is NULL. Only if it
 * is static. Sanitizers would take the distance for an address.
 */
__attribute__((no_sanitize("address", "thread"))) static inline void *rdm_tls_pointer(size_t place)
{
	void *pointer = ((void *const __seg_fs *)rdm_tls_distance)[place];

	if (!pointer)
		__builtin_unreachable();
	return pointer;
}
#endif

/* Whether it can be had without a call. */
bool rdm_tls_open(void);

/* The cache that is hot at a place. */
static inline struct rdm_cache *rdm_tls_hot(size_t place)
{
#ifdef RDM_STATIC_TLS
	return rdm_tls_pointer(place);
#else
	return rdm_tls.hot[place];
#endif
}

/* From now on none is: the calling thread has no caches any more. */
void rdm_tls_cool(void);

#endif
