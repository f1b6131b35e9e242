/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "live.h"
#include "log.h"
#include "reserve.h"

#if defined(__SANITIZE_THREAD__)
#define RACES_LIKE_FORK __attribute__((no_sanitize("thread")))
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACES_LIKE_FORK __attribute__((no_sanitize("thread")))
#endif
#endif

#ifdef RACES_LIKE_FORK
/* Other threads may write to their blocks, as they may while the kernel forks. */
RACES_LIKE_FORK static void copy_words(char *to, const char *from, size_t length)
{
	for (size_t i = 0; i < length / sizeof(long); i++)
		((volatile long *)(void *)to)[i] = ((const volatile long *)(const void *)from)[i];
}
#else
static void copy_words(char *to, const char *from, size_t length)
{
	memcpy(to, from, length);
}
#endif

/* Aligned like the slab, so that the kernel can move whole page tables. */
static char *map_shadow(size_t length, size_t live)
{
	char *raw = mmap(NULL, length + RDM_GRANULE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *base;

	if (raw == MAP_FAILED)
		return NULL;
	base = (char *)(((uintptr_t)raw + RDM_GRANULE - 1) & ~(RDM_GRANULE - 1));
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	munmap(base + length, (size_t)(raw + RDM_GRANULE - base));
	/* Without THP this fails, and base pages do as well. */
	if (live >= length / 2)
		madvise(base, length, MADV_HUGEPAGE);
	return base;
}

static void copy_live(const struct rdm_slab *slab, char *shadow)
{
	size_t size;

	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size)
		copy_words(shadow + (block - slab->base), block, size);
}

void rdm_snapshot_prefork(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	if (set->fork != RDM_FORK_COPY)
		return;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		size_t live;

		if (rdm_slab_is_inherited(slab) || !rdm_live_count(slab, &live))
			continue;
		slab->shadow = map_shadow(slab->length, live);
		if (slab->shadow)
			copy_live(slab, slab->shadow);
		else
			rdm_log(RDM_LOG_ERROR,
				"fork: no memory to copy the slab %p of %zu MiB (errno %d): the child gets a "
				"hole there",
				(void *)slab->base, slab->length >> 20, errno);
	}
}

void rdm_snapshot_postfork_parent(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	if (set->fork != RDM_FORK_COPY)
		return;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		/* After a fork each page that is written is copied once. */
		if (!slab->shadow)
			continue;
		munmap(slab->shadow, slab->length);
		slab->shadow = NULL;
	}
}

static bool place(struct rdm_slab *slab, enum rdm_fork_policy policy)
{
	if (slab->shadow)
		return mremap(slab->shadow, slab->length, slab->length,
			      MREMAP_MAYMOVE | MREMAP_FIXED, slab->base) == slab->base;
	if (policy == RDM_FORK_ZERO)
		return !mprotect(slab->base, slab->length, PROT_READ | PROT_WRITE);
	return true;
}

/* The hole, whatever a failed placement has left there. */
static void place_hole(struct rdm_slab *slab)
{
	rdm_log(RDM_LOG_ERROR,
		"fork: the child cannot have its memory at slab %p (errno %d): it gets a hole there",
		(void *)slab->base, errno);
	if (mmap(slab->base, slab->length, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		rdm_die("fork: the child cannot map its hole again (errno %d)", errno);
}

void rdm_snapshot_postfork_child(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	atomic_store(&rdm_slabs_keyed, 0);
	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (rdm_slab_is_inherited(slab))
			continue;
		if (!place(slab, set->fork))
			place_hole(slab);
		/* A write would copy the record's page. */
		if (slab->shadow)
			slab->shadow = NULL;
		rdm_reserve_keep(slab->base, slab->length, true);
	}
}
