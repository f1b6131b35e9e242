/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_DEPOT_H
#define RDM_DEPOT_H

/*
 * A heap's store of free blocks between its threads' magazines and its arena:
 * for each class a stack of blocks, in magazines. Blocks come and go many at a
 * time, so that the lock is taken rarely.
 *
 * Any thread may call, inside the gate or the quiesce lock, so that fork() finds the depot at
 * rest. Its lock is a leaf: nothing under it allocates, but rdm_depot_put() may, without it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/size_class.h"
#include "base/patience.h"
#include "heap/magazine.h"
#include "sync/lock.h"

struct rdm_depot {
	struct rdm_lock lock;
	struct rdm_magazine *empty;
	struct rdm_patience patience; /* with memory for a new one */
	struct rdm_shelf {
		struct rdm_magazine *magazines; /* with one block each at least */
		size_t count;                   /* of blocks */
		size_t idle;                    /* of them not wanted since the last look */
	} shelves[RDM_CLASS_MAX + 1];           /* by class */
	_Atomic size_t bytes;                   /* of all blocks; written under the lock */
	uint64_t asked, answered;               /* by threads; how often there was something */
	unsigned hand;                          /* the class that was looked at last */
	_Atomic uint32_t looked;                /* when; ms */
};

void rdm_depot_init(struct rdm_depot *depot);
void rdm_depot_destroy(struct rdm_depot *depot);

/* How many of the blocks it has taken: fewer than count when there is no memory for magazines. */
size_t rdm_depot_put(struct rdm_depot *depot, unsigned class, void **blocks, size_t count);
/* At most `most` blocks; how many there were. */
size_t rdm_depot_take(struct rdm_depot *depot, unsigned class, void **blocks, size_t most);

/* A whole magazine; NULL: there are no blocks. */
struct rdm_magazine *rdm_depot_take_magazine(struct rdm_depot *depot, unsigned class);
/* Takes over a magazine that no thread has loaded any more. */
void rdm_depot_put_magazine(struct rdm_depot *depot, unsigned class, struct rdm_magazine *magazine);
/* An empty magazine, new if need be; NULL: no memory. */
struct rdm_magazine *rdm_depot_take_empty(struct rdm_depot *depot);

/*
 * Looks, from time to time, at one class after the other, and takes some blocks
 * out of which nobody had need since the look before. How many; of *class.
 */
size_t rdm_depot_weed(struct rdm_depot *depot, unsigned *class, void **blocks, size_t most);

/*
 * While there are more than `bound` bytes: takes some blocks out, of *class if that has a good
 * part of them, else of the class that has most. How many; of *class.
 */
size_t rdm_depot_take_excess(struct rdm_depot *depot, size_t bound, unsigned *class, void **blocks,
			     size_t most);

/* Whether there are blocks of a class, as it seems without the lock. */
bool rdm_depot_has(const struct rdm_depot *depot, unsigned class);

/* Takes all magazines of a class out, as a list. */
struct rdm_magazine *rdm_depot_take_all(struct rdm_depot *depot, unsigned class);
void rdm_magazines_free(struct rdm_magazine *list);

/* How often threads wanted blocks, and how often they got any. */
void rdm_depot_count(struct rdm_depot *depot, uint64_t *asked, uint64_t *answered);

/* Bytes of its blocks. */
size_t rdm_depot_bytes(struct rdm_depot *depot);

#endif
