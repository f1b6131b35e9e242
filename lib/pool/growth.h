/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_GROWTH_H
#define RDM_GROWTH_H

/*
 * How a pool gets slabs, up to its limit, and gives them back: rdm_pool_grow,
 * rdm_pool_reserve and rdm_pool_trim. All of it happens under the quiesce lock.
 */

#include <stdbool.h>
#include <stddef.h>

#include "pool/pool.h"

/*
 * Makes room for `want`, unless somebody did since `generation`: then the
 * caller just tries again, as the next attempt (from 0). 0, or -1 with errno.
 */
int rdm_pool_grow(struct rdm_pool *pool, const struct rdm_want *want, unsigned generation,
		  unsigned attempt, const char *caller);

/*
 * Whether it was found full a short while ago, and who asks has another malloc: for so many
 * requests as are worth the look. Without a lock.
 */
bool rdm_growth_rests(struct rdm_pool *pool);
/* Whether so much has become free since that a block of that size may be had, though the pool cannot grow. */
bool rdm_growth_has_regained(const struct rdm_pool *pool, size_t size);

/* Bytes of the smallest slab of such memory. */
size_t rdm_growth_least(const struct rdm_memory_kind *kind);

/* All that is free goes back, whoever has it. Whether there was anything. */
bool rdm_pool_return(struct rdm_pool *pool);

/* To be called when slabs or rails have come or gone. */
void rdm_growth_changed(struct rdm_pool *pool);

#endif
