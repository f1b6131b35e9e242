/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PAGES_H
#define RDM_PAGES_H

/*
 * What is asked of the kernel for plain memory: ordinary private memory, as malloc's own is,
 * there when it is touched. No lock, no allocation.
 */

#include <stdbool.h>
#include <stddef.h>

/* Makes memory of what the reserve gave. 0 or an errno value: then it is as it was. */
int rdm_pages_map(void *addr, size_t length);

/* The pages are free, and zero when they are touched again. moved: some may have come by a move. */
void rdm_pages_discard(void *addr, size_t length, bool moved);

/* To move fewer is no quicker than to copy them. */
#define RDM_MOVED_BYTES ((size_t)1 << 20)
/*
 * What is in whole pages is somewhere else then, as if it had been copied, and `from` is
 * discarded. False: nothing has moved.
 */
bool rdm_pages_move(void *to, void *from, size_t length);

#endif
