/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_REUSE_H
#define RDM_PRELOAD_REUSE_H

/*
 * Registrations that outlive their ends (RDMALLOC_CONF=mr_reuse:true). A real region of
 * slabs' memory never gets to the program, which has *aliases* of it: records of ours with the
 * region's keys and the range that was asked for. A region without aliases is idle: it is kept
 * for the next registration inside it, until there are too many.
 *
 * Called by ibverbs.c, which makes and ends the real regions. One lock, a leaf: nothing under
 * it allocates or calls libibverbs. All that is known lies in memory that a child of any
 * fork finds zeroed, the lock too: the parent's regions are none of its own, and no fork
 * handler is needed.
 */

#include <infiniband/verbs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether such a registration can be an alias at all. */
bool rdm_reuse_covers(const void *addr, size_t length, uint64_t iova, unsigned access);

/* An alias of a region that is there, with just these rights, or NULL. */
struct ibv_mr *rdm_reuse_get(struct ibv_pd *pd, void *addr, size_t length, unsigned access);

/*
 * The first alias of a new region, or NULL where there is no room for it. keep: others
 * may have one, too, and it stays when they have ended.
 */
struct ibv_mr *rdm_reuse_add(struct ibv_mr *real, unsigned access, bool keep);

/* Whether it is an alias; takes no lock. */
bool rdm_reuse_has(const struct ibv_mr *mr);

/* The rights of an alias. */
unsigned rdm_reuse_access(const struct ibv_mr *alias);

/* Each alias becomes what the other one was. */
void rdm_reuse_swap(struct ibv_mr *a, struct ibv_mr *b);

/* Ends an alias. 0, or EINVAL: it has ended before. */
int rdm_reuse_put(struct ibv_mr *alias);

/*
 * A region that is to be ended now, because it is one too many or of no use any more; all: or
 * because it is idle. NULL: there is none. The caller says when it has ended.
 */
struct rdm_region *rdm_reuse_evict(bool all);
struct ibv_mr *rdm_reuse_real(const struct rdm_region *region);
void rdm_reuse_ended(struct rdm_region *region);

/*
 * Before a protection domain or a context goes: nobody gets an alias of its regions any
 * more, and those that are idle are the next to be evicted. NULL: any.
 */
void rdm_reuse_forget(const struct ibv_context *context, const struct ibv_pd *pd);
/* Waits until no thread is about to end one of them. */
void rdm_reuse_wait(const struct ibv_context *context, const struct ibv_pd *pd);

#endif
