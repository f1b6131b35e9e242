/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_WARM_H
#define RDM_WARM_H

/*
 * Warm pages: free pages of a set that may still hold memory. To carve them asks nothing of
 * the kernel, and until somebody does the system goes without them. Only sets whose operations
 * can discard pages have any.
 *
 * How many a set may have follows from what is carved, and from what was missed since: pages
 * that were discarded and soon wanted again give it credit, which ends when what is carved
 * falls, and falls. No clock and no thread is needed: a program that frees all it has and goes
 * to sleep calls nobody any more.
 *
 * Under the set's lock, except where slabs are made.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rdm_slab;
struct rdm_slab_set;

/* Of a granule. */
struct rdm_warmth {
	uint16_t pages;
	uint16_t epoch; /* when its pages became free last */
};

/* Of a set; in pages. */
struct rdm_warm {
	size_t pages;
	size_t lost;    /* discarded, and not carved again since */
	size_t credit;  /* so many more may be warm */
	size_t fallen;  /* what is carved has become less by so many */
	size_t longest; /* run that became free */
	size_t stirred; /* became free in this epoch */
	size_t hand;    /* the granule that was discarded last */
	uint16_t epoch;
};

/* Bytes behind the record of a slab of so many pages, and their beginning. */
size_t rdm_warm_size(size_t pages);
void rdm_warm_attach(struct rdm_slab *slab, void *memory);

/* Pages of a slab were carved, or became free. */
void rdm_warm_carved(struct rdm_slab *slab, size_t first, size_t run);
void rdm_warm_uncarved(struct rdm_slab *slab, size_t first, size_t run);

/* It could not be discarded: it is warm again. */
void rdm_warm_restore(struct rdm_slab *slab, size_t first, size_t run);

/* Whether a run that becomes free is too long for any of it to stay warm, and what that costs. */
bool rdm_warm_is_too_long(const struct rdm_slab_set *set, size_t run);
void rdm_warm_lose(struct rdm_slab_set *set, size_t run);

/* Whether there are more than there may be. */
bool rdm_warm_is_excess(const struct rdm_slab_set *set);

/*
 * Warm pages of which the neighbourhood was free for long: of *slab, in the pages from
 * *first to before *end. False: none are warm.
 */
bool rdm_warm_find_old(struct rdm_slab_set *set, struct rdm_slab **slab, size_t *first,
		       size_t *end);
/* The next run of them in these; its pages are warm no longer. False: there is none. */
bool rdm_warm_take(struct rdm_slab *slab, size_t *first, size_t end, size_t *run);

/* A slab of which nothing is carved goes: so do its warm pages. */
void rdm_warm_forget(struct rdm_slab *slab);

#endif
