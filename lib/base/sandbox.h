/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SANDBOX_H
#define RDM_SANDBOX_H

/*
 * Whether this process is in a sandbox (seccomp) that it entered itself. From then on no system
 * call may be made of a kind that malloc's own does not make: some sandboxes end the process
 * for it. What must be known is found out before. The preload sees processes enter; in any other
 * nobody says so. Any thread may ask, no lock.
 */

#include <stdatomic.h>
#include <stdbool.h>

extern _Atomic bool rdm_sandbox_entered __attribute__((visibility("hidden")));

static inline bool rdm_sandbox_is_entered(void)
{
	return atomic_load_explicit(&rdm_sandbox_entered, memory_order_relaxed);
}

#endif
