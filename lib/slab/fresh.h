/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FRESH_H
#define RDM_FRESH_H

/*
 * Which pages of a slab are zero because no block has had them since they came from the kernel,
 * so that calloc need not write them. Known of kinds of memory that nobody writes before blocks
 * do, which are those that say how they make a block zero (rdm_slab_ops.zero).
 *
 * A block's pages are fresh no more when it leaves the arena; what comes from a cache or a depot
 * has left it once. No lock: blocks own their pages, and the bits of several lie in one word.
 */

#include "slab/slab.h"

/* Of a new slab: the words that it needs behind its record for so many pages. */
size_t rdm_fresh_words(const struct rdm_slab_set *set, size_t pages);

/* A block has so many bytes from the arena. */
void rdm_fresh_end(void *block, size_t usable);
/* The same, and the first `size` of them become zero, what is not fresh of them by the kind's way. */
void rdm_fresh_end_zero(void *block, size_t size, size_t usable);
/* Pages that nobody has are as new: whole ones, in one slab. */
void rdm_fresh_begin(void *addr, size_t length);

#endif
