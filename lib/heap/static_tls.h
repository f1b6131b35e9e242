/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STATIC_TLS_H
#define RDM_STATIC_TLS_H

/*
 * A thread's magazines found without a call. A library that dlopen() may load
 * must go through __tls_get_addr(), for there may be no room left for it in the
 * threads' static blocks. But if it was there when the program started, it lies
 * in those blocks, as far from the thread pointer in one thread as in the next.
 * Which of the two the loader says in the variable's TLS descriptor.
 */

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__SEG_FS)
#define RDM_STATIC_TLS

/* Of rdm_magazine_tls, from the thread pointer. */
extern intptr_t rdm_static_tls __attribute__((visibility("hidden")));

/*
 * The pointer at its start in the calling thread, which is never NULL. Only if it
 * is static. Sanitizers would take the distance for an address.
 */
__attribute__((no_sanitize("address", "thread"))) static inline void *rdm_static_tls_first(void)
{
	void *first = *(void *const __seg_fs *)rdm_static_tls;

	if (!first)
		__builtin_unreachable();
	return first;
}
#endif

/* Whether it can be had without a call. */
bool rdm_static_tls_open(void);

#endif
