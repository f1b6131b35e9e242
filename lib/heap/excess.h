/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_EXCESS_H
#define RDM_EXCESS_H

/*
 * How much a heap's depot may have, where free memory is to be returned: a little, and a part of
 * what is carved. What is above that goes to the arena, by whoever has brought it.
 *
 * Any thread, inside the gate, with no lock.
 */

#include "heap/heap.h"

/* After blocks of a class were put into the depot. */
void rdm_excess_return(struct rdm_heap *heap, unsigned class);

#endif
