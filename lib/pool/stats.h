/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_STATS_H
#define RDM_STATS_H

#include "pool/pool.h"
#include "rdmalloc.h"

/* All but what is live, which is dear to count; under the quiesce lock. */
void rdm_stats_read(struct rdm_pool *pool, struct rdm_stats *stats);

#endif
