/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TRADE_H
#define RDM_TRADE_H

/*
 * What a stack of a cache has too much or too little goes to or comes from the depot, half
 * a stack at a time, or a magazine; that is a trade. Classes that trade often may have more,
 * those that are not used give way. What nobody takes from the depot for some time goes to
 * the arena.
 *
 * Any thread may call, with no lock held.
 */

#include "heap/heap.h"

/* A block from the calling thread's cache or the depot; NULL: ask the arena. */
void *rdm_trade_alloc(struct rdm_heap *heap, unsigned class);
/* Takes a free block, to the arena when nothing else will have it. */
void rdm_trade_free(struct rdm_heap *heap, unsigned class, void *block);

#endif
