/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_ABLATE_H
#define RDM_ABLATE_H

/*
 * Steps of the recipe that a test can drop to see a safety test go red. Only
 * in the library that the tests link (ablate.c): RDMALLOC_ABLATE names the
 * steps, separated by commas. In the product every answer is "no"
 * (ablate_never.c). It is a call, so no hot path may ask.
 */

#include <stdbool.h>

enum rdm_ablation {
	RDM_ABLATE_DONTFORK = 1 << 0,    /* slabs are not MADV_DONTFORK */
	RDM_ABLATE_WRITE = 1 << 1,       /* slabs are neither populated nor written */
	RDM_ABLATE_REASSERT = 1 << 2,    /* prefork does not mark the reserve again */
	RDM_ABLATE_MERGE = 1 << 3,       /* extents merge across slabs */
	RDM_ABLATE_QUIESCE = 1 << 4,     /* fork does not wait for registrations */
	RDM_ABLATE_WAIT = 1 << 5,        /* trim does not wait for threads at their magazines */
	RDM_ABLATE_GATE = 1 << 6,        /* fork does not wait for threads inside jemalloc */
	RDM_ABLATE_INTERRUPTED = 1 << 8, /* fork handlers wait for their own thread */
	RDM_ABLATE_FIRST = 1 << 9,       /* other libraries' fork handlers may come before ours */
	RDM_ABLATE_NOTES =
		1 << 12, /* what a program did to a block's pages stays when it is freed */
	RDM_ABLATE_UNSEEN = 1 << 10, /* pages are discarded whatever the kernel counts as pinned */
	RDM_ABLATE_CANCEL = 1 << 11, /* a thread can be cancelled while it has a lock */
	RDM_ABLATE_LEAVE =
		1 << 7, /* fork does not leave strangers' pins to a kernel that copies them */
};

bool rdm_ablated(enum rdm_ablation step);

#endif
