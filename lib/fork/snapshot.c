/* SPDX-License-Identifier: BSD-2-Clause */
#include "fork/snapshot.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/kernel.h"
#include "base/log.h"
#include "memory/reserve.h"
#include "plain/pins.h"
#include "plain/present.h"
#include "slab/live.h"
#include "slab/registration.h"

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
	char *raw =
		rdm_kernel_map(NULL, length + RDM_GRANULE, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	char *base;

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

/* What there is of plain memory, which may never have been touched: a look must not make it. */
static void copy_present(char *shadow, const struct rdm_slab *slab, const char *from,
			 const char *end, int pagemap)
{
	size_t length;
	bool present;

	for (; from < end; from += length) {
		length = rdm_present_run(pagemap, from, end, &present);
		if (present)
			copy_words(shadow + (from - slab->base), from, length);
	}
}

/* The parts of a block that children do not inherit. */
static void copy_pinned(char *shadow, const struct rdm_slab *slab, char *block, char *end,
			int pagemap)
{
	size_t length;

	for (char *run = block; rdm_pins_next(slab, run, end, &run, &length); run += length)
		copy_present(shadow, slab, run, run + length, pagemap);
}

static void copy_plain(const struct rdm_slab *slab, char *shadow)
{
	int pagemap = rdm_present_open();
	size_t size;

	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size)
		if (rdm_slabs_are_heritable(slab->set))
			copy_pinned(shadow, slab, block, block + size, pagemap);
		else
			copy_present(shadow, slab, block, block + size, pagemap);
	rdm_present_close(pagemap);
}

static void copy_live(const struct rdm_slab *slab, char *shadow)
{
	size_t size;

	for (char *block = slab->base; (block = rdm_live_next(slab, block, &size)); block += size)
		copy_words(shadow + (block - slab->base), block, size);
}

/* Whether its child gets a copy of something. */
static bool is_copied(const struct rdm_slab *slab, size_t *bytes)
{
	char *run;

	if (rdm_slabs_are_heritable(slab->set))
		return rdm_pins_next(slab, slab->base, slab->base + slab->length, &run, bytes);
	return slab->set->fork == RDM_FORK_COPY && !rdm_slab_is_inherited(slab) &&
	       rdm_live_count(slab, bytes);
}

/* If not, fork() need not look at each slab's record. */
static bool may_copy(const struct rdm_slab_set *set)
{
	return set->fork == RDM_FORK_COPY || rdm_slabs_are_heritable(set);
}

void rdm_snapshot_prefork(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	if (!may_copy(set))
		return;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		size_t bytes;

		if (!is_copied(slab, &bytes))
			continue;
		slab->shadow = map_shadow(slab->length, bytes);
		if (slab->shadow && rdm_slabs_are_plain(set))
			copy_plain(slab, slab->shadow);
		else if (slab->shadow)
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

	if (!may_copy(set))
		return;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		/* After a fork each page that is written is copied once. */
		if (!slab->shadow)
			continue;
		rdm_kernel_unmap(slab->shadow, slab->length);
		slab->shadow = NULL;
	}
}

static bool place(struct rdm_slab *slab, enum rdm_fork_policy policy)
{
	if (slab->shadow)
		return rdm_kernel_move(slab->shadow, slab->base, slab->length, 0);
	if (policy == RDM_FORK_ZERO)
		return !mprotect(slab->base, slab->length, PROT_READ | PROT_WRITE);
	return true;
}

/* The hole, whatever a failed placement has left there. */
static void place_hole(char *base, size_t length)
{
	rdm_log(RDM_LOG_ERROR,
		"fork: the child cannot have its %zu bytes at %p (errno %d): it gets a hole there",
		length, (void *)base, errno);
	if (rdm_kernel_map(base, length, PROT_NONE, MAP_NORESERVE | MAP_FIXED) == MAP_FAILED)
		rdm_die("fork: the child cannot map its hole again (errno %d)", errno);
}

/* The pinned pages of a heritable slab; around them the child has its own. */
static void place_pinned(struct rdm_slab *slab)
{
	char *end = slab->base + slab->length;
	size_t length;

	for (char *run = slab->base; rdm_pins_next(slab, run, end, &run, &length); run += length) {
		char *copy = (char *)slab->shadow + (run - slab->base);

		if (!slab->shadow || !rdm_kernel_move(copy, run, length, 0))
			place_hole(run, length);
	}
	if (!slab->shadow)
		return;
	rdm_kernel_unmap(slab->shadow, slab->length);
	slab->shadow = NULL;
}

void rdm_snapshot_postfork_child(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (rdm_slab_is_inherited(slab))
			continue;
		if (rdm_slabs_are_heritable(set)) {
			place_pinned(slab);
			continue;
		}
		if (!place(slab, set->fork))
			place_hole(slab->base, slab->length);
		/* A write would copy the record's page. */
		if (slab->shadow)
			slab->shadow = NULL;
		rdm_reserve_keep(slab->base, slab->length, true);
	}
}
