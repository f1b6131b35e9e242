/* SPDX-License-Identifier: BSD-2-Clause */
#include "fork/snapshot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "memory/reserve.h"
#include "memory/slab_map.h"
#include "pool/foreign_index.h"
#include "slab/live.h"
#include "slab/registration.h"
#include "sync/lock.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#if defined(__SANITIZE_THREAD__)
#define RACES_LIKE_FORK __attribute__((no_sanitize("thread")))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACES_LIKE_FORK __attribute__((no_sanitize("thread")))
#endif
#endif

#ifdef RACES_LIKE_FORK
/* Other threads may write to their blocks, as they may while the kernel forks. */
RACES_LIKE_FORK void rdm_snapshot_copy(char *to, const char *from, size_t length)
{
	for (size_t i = 0; i < length / sizeof(long); i++)
		((volatile long *)(void *)to)[i] = ((const volatile long *)(const void *)from)[i];
}
#else
void rdm_snapshot_copy(char *to, const char *from, size_t length)
{
	memcpy(to, from, length);
}
#endif

/* Aligned like the slab, so that the kernel can move whole page tables. */
static char *map_shadow(size_t length, size_t live)
{
	char *raw =
		rdm_kernel_map(NULL, length + RDM_GRANULE, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	char *base;

	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	if (raw == MAP_FAILED)
		return NULL;
	base = (char *)(((uintptr_t)raw + RDM_GRANULE - 1) & ~(RDM_GRANULE - 1));
	if (base > raw)
		rdm_kernel_unmap(raw, (size_t)(base - raw));
	rdm_kernel_unmap(base + length, (size_t)(raw + RDM_GRANULE - base));
	/* Without THP this fails, and base pages do as well. */
	if (live >= length / 2)
		rdm_kernel_advise(base, length, MADV_HUGEPAGE);
	return base;
}

void rdm_snapshot_copy_live(const struct rdm_slab *slab, char *shadow)
{
	size_t size;

	rdm_assert(shadow);
	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size)
		rdm_snapshot_copy(shadow + (block - slab->base), block, size);
}

bool rdm_snapshot_make_shadow(struct rdm_slab *slab, size_t bytes)
{
	if (!slab->shadow)
		slab->shadow = map_shadow(slab->length, bytes);
	return slab->shadow;
}

void rdm_snapshot_take(struct rdm_slab *slab, size_t bytes)
{
	rdm_assert(rdm_lock_is_mine(&slab->set->lock));
	rdm_assert(slab->set->ops->copy);
	/* Another fork's is good for both: it may as well have come a moment later. */
	if (rdm_snapshot_make_shadow(slab, bytes))
		slab->set->ops->copy(slab, slab->shadow);
	else
		rdm_log(RDM_LOG_ERROR,
			"fork: no memory to copy the slab %p of %zu MiB (errno %d): the child gets a "
			"hole there",
			(void *)slab->base, slab->length >> 20, errno);
}

void rdm_snapshot_drop(struct rdm_slab *slab)
{
	if (!slab->shadow)
		return;
	rdm_kernel_unmap(slab->shadow, slab->length);
	slab->shadow = NULL;
}

void rdm_snapshot_prefork(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;
	size_t bytes;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	/* If not, fork() need not look at each slab's record. */
	if (set->fork != RDM_FORK_COPY)
		return;
	TAILQ_FOREACH (slab, &set->slabs, link)
		if (!rdm_slab_is_inherited(slab) && rdm_live_count(slab, &bytes))
			rdm_snapshot_take(slab, bytes);
}

void rdm_snapshot_postfork_parent(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	if (set->fork != RDM_FORK_COPY)
		return;
	/* After a fork each page that is written is copied once: only what has a shadow is written. */
	TAILQ_FOREACH (slab, &set->slabs, link)
		rdm_snapshot_drop(slab);
}

static bool place(struct rdm_slab *slab, enum rdm_fork_policy policy)
{
	rdm_assert(!rdm_slab_is_inherited(slab));
	if (slab->shadow)
		return rdm_kernel_move(slab->shadow, slab->base, slab->length, 0);
	if (policy == RDM_FORK_ZERO)
		return !mprotect(slab->base, slab->length, PROT_READ | PROT_WRITE);
	return true;
}

/* The hole, whatever a failed placement has left there. */
void rdm_snapshot_place_hole(char *base, size_t length)
{
	rdm_assert(base && length);
	rdm_log(RDM_LOG_ERROR,
		"fork: the child cannot have its %zu bytes at %p (errno %d): it gets a hole there",
		length, (void *)base, errno);
	if (rdm_kernel_map(base, length, PROT_NONE, MAP_NORESERVE | MAP_FIXED) == MAP_FAILED)
		rdm_die("fork: the child cannot map its hole again (errno %d)", errno);
	rdm_slab_of(base)->set->has_holes = true;
}

void rdm_snapshot_postfork_child(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	rdm_assert(rdm_lock_is_mine(&set->lock));
	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (rdm_slab_is_inherited(slab))
			continue;
		if (!place(slab, set->fork))
			rdm_snapshot_place_hole(slab->base, slab->length);
		/* A write would copy the record's page. */
		if (slab->shadow)
			slab->shadow = NULL;
		rdm_reserve_keep(slab->base, slab->length, true);
	}
}

static void copy_foreign(struct rdm_foreign *record)
{
	char *shadow =
		rdm_kernel_map(NULL, record->kept_length, PROT_READ | PROT_WRITE, MAP_NORESERVE);

	if (shadow == MAP_FAILED) {
		rdm_log(RDM_LOG_ERROR,
			"fork: no memory to copy the %zu registered bytes at %p (errno %d): the child "
			"gets a hole there",
			record->kept_length, (void *)record->kept, errno);
		return;
	}
	rdm_snapshot_copy(shadow, record->kept, record->kept_length);
	record->shadow = shadow;
}

/* A stranger may have undone it. False: it is not mapped any more. */
static bool keep_foreign(const struct rdm_foreign *record)
{
	return rdm_ablated(RDM_ABLATE_REASSERT) || rdm_ablated(RDM_ABLATE_DONTFORK) ||
	       !rdm_kernel_advise(record->kept, record->kept_length, MADV_DONTFORK);
}

void rdm_snapshot_prefork_foreign(void)
{
	struct rdm_foreign *record = NULL;

	/* Its pages stay out of the child all the same. */
	if (!rdm_foreign_rests())
		return;
	while ((record = rdm_foreign_next(record))) {
		if (!record->kept_length || atomic_load(&record->inherited))
			continue;
		if (!keep_foreign(record))
			rdm_log(RDM_LOG_ERROR,
				"fork: %zu bytes at %p are registered and not mapped any more (errno "
				"%d): rdm_deregister() comes before munmap()",
				record->length, (void *)record->base, errno);
		else if (record->pool->slabs.fork == RDM_FORK_COPY && !record->shadow)
			copy_foreign(record);
	}
}

void rdm_snapshot_postfork_parent_foreign(void)
{
	struct rdm_foreign *record = NULL;

	if (!rdm_foreign_rests())
		return;
	while ((record = rdm_foreign_next(record))) {
		if (record->shadow)
			rdm_kernel_unmap(record->shadow, record->kept_length);
		record->shadow = NULL;
	}
}

/* What begins at `at` of its pages: nothing of the child's may be there. */
static bool place_foreign(const struct rdm_foreign *record, char *at)
{
	bool zero = record->pool->slabs.fork == RDM_FORK_ZERO;
	size_t before = (size_t)(at - record->kept), length = record->kept_length - before;
	char *got = rdm_kernel_map(at, length, zero ? PROT_READ | PROT_WRITE : PROT_NONE,
				   MAP_NORESERVE | MAP_FIXED_NOREPLACE);

	if (got != at) {
		/* Before 4.17 it is a hint. */
		if (got != MAP_FAILED)
			rdm_kernel_unmap(got, length);
		return false;
	}
	return !record->shadow || rdm_kernel_move(record->shadow + before, at, length, 0);
}

void rdm_snapshot_postfork_child_foreign(void)
{
	struct rdm_foreign *record = NULL;
	char *done = NULL;

	if (!rdm_foreign_rests())
		return;
	while ((record = rdm_foreign_next(record))) {
		char *end = record->kept + record->kept_length;
		char *at = record->kept > done ? record->kept : done;

		if (atomic_load(&record->inherited) || !record->kept_length || at >= end)
			continue;
		if (!place_foreign(record, at))
			rdm_log(RDM_LOG_ERROR,
				"fork: the child cannot have its %zu registered bytes at %p (errno "
				"%d): it gets a hole there",
				record->length, (void *)record->base, errno);
		done = end;
	}
}
