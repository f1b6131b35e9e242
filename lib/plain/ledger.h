/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LEDGER_H
#define RDM_LEDGER_H

/*
 * The one ledger of pins, wherever they lie: registrations, which end with a handle, and
 * announced ranges, which a driver pins afterwards, or does not. Each counts in pages as the
 * kernel counts it: every page that it touches, as often as it is registered. What the kernel
 * counts and the ledger does not explain is pinned by somebody who told nobody.
 *
 * Called by pins.c, under the pins' lock where nothing else is said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct rdm_pin {
	LIST_ENTRY(rdm_pin) link;
	const void *handle;
	char *addr;
	size_t length;
	size_t times; /* it was announced, and not withdrawn */
};

/* With no lock: an entry, which is in no list yet. It waits a little for fork(). NULL: no memory. */
struct rdm_pin *rdm_ledger_entry(void *addr, size_t length);
void rdm_ledger_free(struct rdm_pin *pin);

/* It is about to be registered, or has ended: the kernel may count it or not. */
void rdm_ledger_open(struct rdm_pin *pin);
void rdm_ledger_close(struct rdm_pin *pin);

/* It is registered, under this handle; the one that is, open again, or NULL. */
void rdm_ledger_name(struct rdm_pin *pin, const void *handle);
struct rdm_pin *rdm_ledger_take(const void *handle);

/*
 * An open one is announced. The entry becomes the ledger's; NULL, or one that is not
 * needed, because the same range is there, comes back.
 */
struct rdm_pin *rdm_ledger_announce(struct rdm_pin *pin);
/*
 * Takes the first announced range, of whole pages, between two addresses off the ledger, once.
 * What sticks out stays; for that there are spare entries, of which the first is none: there the
 * entry comes back that is needed no more. False: nothing is announced there.
 */
enum { RDM_LEDGER_SPARES = 3 };
bool rdm_ledger_withdraw(char *from, char *end, struct rdm_pin *spare[RDM_LEDGER_SPARES],
			 char **run, size_t *length);

/* All pages in it, as the kernel counts; takes no lock. */
size_t rdm_ledger_pages(void);
/* Of a range. */
size_t rdm_ledger_pages_of(const void *addr, size_t length);

/* Whether so many pinned pages can be those that it knows. */
bool rdm_ledger_explains(size_t pinned);

/* In a child, which has no registrations. */
void rdm_ledger_forget(void);

#endif
