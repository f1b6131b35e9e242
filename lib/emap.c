/* SPDX-License-Identifier: BSD-2-Clause */
#include "emap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include <jemalloc/jemalloc.h>

#include "arena_config.h"
#include "bits.h"
#include "meta.h"
#include "reserve.h"

/* A node covers 128 MiB at least: 2^15 pages of 4 KiB (rtree.h, three levels for 57 bits). */
#define WINDOW_SHIFT 27
#define WINDOW ((size_t)1 << WINDOW_SHIFT)
/* Large for every page size, so that it is an extent of its own. */
#define EXTENT ((size_t)256 << 10)

static unsigned long *covered; /* a bit for each window of the reserve */
static unsigned arena;
static char purge[32];
static char *target;

/* Gives jemalloc the address that it shall make nodes for; nothing touches it. */
static void *hook_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t align, bool *zero,
			bool *commit, unsigned index)
{
	char *given = at || *zero || size > RDM_GRANULE || align > RDM_GRANULE ? NULL : target;

	(void)hooks;
	(void)index;
	target = NULL;
	*commit = true;
	return given;
}

static bool hook_dalloc(extent_hooks_t *hooks, void *addr, size_t size, bool committed,
			unsigned index)
{
	(void)hooks;
	(void)addr;
	(void)size;
	(void)committed;
	(void)index;
	return false;
}

int rdm_emap_open(size_t reserve)
{
	static extent_hooks_t hooks = { .alloc = hook_alloc, .dalloc = hook_dalloc };
	struct rdm_arena_config config = { .extent_hooks = &hooks };
	size_t size = sizeof(arena);

	covered = rdm_meta_alloc((reserve / WINDOW / RDM_BITS_WORD + 2) * sizeof(*covered));
	if (!covered || rdm_je_mallctl("experimental.arenas_create_ext", &arena, &size, &config,
				       sizeof(config)))
		return ENOMEM;
	snprintf(purge, sizeof(purge), "arena.%u.purge", arena);
	return 0;
}

static int make_nodes(char *addr)
{
	void *extent;

	target = addr;
	extent = rdm_je_mallocx(EXTENT, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
	target = NULL;
	if (!extent)
		return ENOMEM;
	rdm_je_dallocx(extent, MALLOCX_TCACHE_NONE);
	/* Takes the extent out of jemalloc's books again; the nodes stay. */
	return rdm_je_mallctl(purge, NULL, NULL, NULL, 0);
}

int rdm_emap_cover(char *base, size_t length)
{
	uintptr_t first = rdm_reserve_distance(base);
	/* Windows are counted from address 0, as jemalloc's nodes are. */
	uintptr_t start = (uintptr_t)(base - first) & (WINDOW - 1);

	for (uintptr_t at = first; at < first + length;
	     at = ((at + start) | (WINDOW - 1)) + 1 - start) {
		size_t window = (at + start) >> WINDOW_SHIFT;
		int error;

		if (rdm_bits_next(covered, window + 1, window, true) == window)
			continue;
		error = make_nodes(base + (at - first));
		if (error)
			return error;
		rdm_bits_assign(covered, window, 1, true);
	}
	return 0;
}
