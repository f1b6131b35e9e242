/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_REUSE_H
#define RDM_PRELOAD_REUSE_H

/*
 * Registrations that outlive their ends (RDMALLOC_CONF=mr_reuse:true). A real region of
 * slabs' memory never gets to the program, which has *shadows* of it: records of ours with the
 * region's keys and the range that was asked for. A region without shadows is idle: it is kept
 * for the next registration inside it, until there are too many.
 *
 * Called by verbs.c, which makes and ends the real regions. One lock, a leaf: nothing under
 * it allocates or calls libibverbs. All that is known lies in memory that a child of any
 * fork finds zeroed, the lock too: the parent's regions are none of its own, and no fork
 * handler is needed.
 */

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether such a registration can be a shadow at all. */
bool rdm_reuse_covers(const void *addr, size_t length, uint64_t iova, unsigned access);

/* A shadow of a region that is there, with just these rights, or NULL. */
struct ibv_mr *rdm_reuse_get(struct ibv_pd *pd, void *addr, size_t length, unsigned access);

/*
 * The first shadow of a new region, or NULL where there is no room for it. keep: others
 * may have one, too, and it stays when they have ended.
 */
struct ibv_mr *rdm_reuse_add(struct ibv_mr *real, unsigned access, bool keep);

/* Whether it is a shadow; takes no lock. */
bool rdm_reuse_has(const struct ibv_mr *mr);

/* The rights of a shadow. */
unsigned rdm_reuse_access(const struct ibv_mr *shadow);

/* Each shadow becomes what the other one was. */
void rdm_reuse_swap(struct ibv_mr *a, struct ibv_mr *b);

/* Ends a shadow. 0, or EINVAL: it has ended before. */
int rdm_reuse_put(struct ibv_mr *shadow);

/*
 * A region that is to be ended now, because it is one too many or of no use any more; all: or
 * because it is idle. NULL: there is none. The caller says when it has ended.
 */
struct rdm_region *rdm_reuse_evict(bool all);
struct ibv_mr *rdm_reuse_real(const struct rdm_region *region);
void rdm_reuse_ended(struct rdm_region *region);

/*
 * Before a protection domain or a context goes: nobody gets a shadow of its regions any
 * more, and those that are idle are the next to be evicted. NULL: any.
 */
void rdm_reuse_forget(const struct ibv_context *context, const struct ibv_pd *pd);
/* Waits until no thread is about to end one of them. */
void rdm_reuse_wait(const struct ibv_context *context, const struct ibv_pd *pd);

#endif
