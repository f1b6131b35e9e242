/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PAGE_PINS_H
#define RDM_PAGE_PINS_H

/*
 * In slabs of plain memory (plain.h) a count of the pins on each page. Pages with one are
 * MADV_DONTFORK where children inherit the others.
 *
 * Called by pins.c, under the pins' lock where nothing else is said. Ranges may lie anywhere:
 * what is in no plain slab is passed over.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/state.h"
#include "slab/slab.h"

/* With no lock: room for counts. False: no memory. */
bool rdm_page_pins_prepare(char *addr, size_t length);
/* The slab goes, and with it its counts. */
void rdm_page_pins_free(struct rdm_slab *slab);

/*
 * One pin more on each page, or on none, with an errno value. inside: some are in plain slabs.
 * While a fork is ready it makes the copy for the child first (fork.h).
 */
int rdm_page_pins_hold(char *addr, size_t length, bool *inside);
/* One less; pages without any are put into the fork again. */
void rdm_page_pins_let_go(char *addr, size_t length);
/* In a child: there are none. */
void rdm_page_pins_forget(struct rdm_slab_set *set);

/* The rest takes no lock. */

/* Whether a page of the range has a pin. */
bool rdm_page_pins_any(const void *addr, size_t length);

/* The counts of a slab, or NULL: it has none. */
static inline uint16_t *rdm_page_pins_of(const struct rdm_slab *slab)
{
	return atomic_load_explicit(&slab->pins, memory_order_acquire);
}

/* The first page from `page` on, before `end`, that has a pin or has none. */
size_t rdm_page_pins_next(const struct rdm_slab *slab, size_t page, size_t end, bool pinned);

/* Pages of a slab, by their numbers. */
size_t rdm_page_pins_page(const struct rdm_slab *slab, const char *addr);
char *rdm_page_pins_address(const struct rdm_slab *slab, size_t page);

#endif
