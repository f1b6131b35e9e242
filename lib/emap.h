/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_EMAP_H
#define RDM_EMAP_H

/*
 * jemalloc looks up extents in a radix tree (its emap). A thread that is the
 * first in a part of the address space makes a node, under a lock that
 * jemalloc 5.3's fork handlers leave out: a child forked meanwhile would wait
 * for it for ever. So the nodes of a slab's addresses are made before anybody
 * can allocate there, under the quiesce lock, which fork() waits for.
 */

#include <stddef.h>

/* For a reserve of so many bytes. 0 or an errno value. */
int rdm_emap_open(size_t reserve);

/* Makes the nodes for addresses of the reserve that nobody allocates from yet. 0 or errno. */
int rdm_emap_cover(char *base, size_t length);

#endif
