/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_KERNEL_COPIES_H
#define RDM_KERNEL_COPIES_H

/*
 * Whether this kernel's fork() copies pinned pages for the child, so that the parent keeps those
 * that a device has. Kernels of one version differ, so it is tried: a page that is pinned
 * through io_uring is written beside a child, and then read by the kernel.
 */

#include <stdbool.h>

enum rdm_kernel_copies { RDM_COPIES_UNKNOWN, RDM_COPIES_YES, RDM_COPIES_NO };

/* What is known, without asking. */
enum rdm_kernel_copies rdm_kernel_copies_known(void);

/*
 * Asks, once in a process and its children, with a child that shares all of this process's memory
 * that is not MADV_DONTFORK. Unknown where there is no io_uring. Any locks may be held: it
 * allocates nothing and calls nobody.
 */
enum rdm_kernel_copies rdm_kernel_copies_ask(void);

/* Whether the calling thread is making that child, which wants nothing of ours. */
bool rdm_kernel_copies_asks(void);

#endif
