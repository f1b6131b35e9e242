/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_INTERRUPTED_H
#define RDM_INTERRUPTED_H

/*
 * fork() in a signal handler that has interrupted a call of ours in the same thread: a
 * lock that the handlers want may be this thread's own, and will be released by it when the
 * signal handler returns, in the parent and in the child. So they do not wait for it for ever.
 * The preload says where its calls begin and end; nobody else forks in signal handlers.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "base/ablate.h"

#ifdef RDM_PRELOAD
extern __thread volatile unsigned rdm_calls_under_way
	__attribute__((visibility("hidden"), tls_model("initial-exec")));

static inline void rdm_call_begins(void)
{
	rdm_calls_under_way++;
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void rdm_call_ends(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	rdm_calls_under_way--;
}

static inline bool rdm_call_is_interrupted(void)
{
	return rdm_calls_under_way && !rdm_ablated(RDM_ABLATE_INTERRUPTED);
}
#else
static inline bool rdm_call_is_interrupted(void)
{
	return false;
}
#endif

/* How often such a handler tries a lock. */
#define RDM_LOCK_TRIES 1000

#endif
