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

/*
 * Maps memory at these addresses of the reserve, in the place of what is there. 0 or an errno
 * value: then they are as they were.
 */
int rdm_pages_renew(void *addr, size_t length, bool dontfork);

/*
 * Pages that are nobody's, or whose owner wants zeros: they are given back, and zero when they are
 * touched again. False: they are as they were, for they are locked. heritable: of a set that
 * outlives forks, where some may have come by a move.
 */
bool rdm_pages_discard(void *addr, size_t length, bool heritable);

/* Copies a block's bytes; pages that are not there are none of the other block's either. */
void rdm_pages_copy(void *to, const void *from, size_t length);

/* To move fewer is no quicker than to copy them. */
#define RDM_MOVED_BYTES ((size_t)1 << 20)
/*
 * What is in whole pages is somewhere else then, as if it had been copied, and `from` is
 * discarded. False: all is as it was, and is to be copied.
 */
bool rdm_pages_move(void *to, void *from, size_t length);

#endif
