/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_KEYS_H
#define RDM_KEYS_H

/*
 * Address to key: for each rail a table with what rdm_key() says of each granule
 * of the reserve, so that a look-up reads one line. Read without a lock by
 * everybody. registration.c writes it: entries while it registers and deregisters, one
 * thread for each rail and slab, the rest under the quiesce lock.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "memory/reserve.h"
#include "rdmalloc.h"

struct rdm_keys {
	_Atomic size_t reach; /* how far into the reserve they are true; in a child, nowhere */
	const struct rdm_key *rail[RDM_RAILS_MAX];
};
extern struct rdm_keys rdm_keys __attribute__((visibility("hidden")));

static inline size_t rdm_keys_reach(void)
{
	return atomic_load_explicit(&rdm_keys.reach, memory_order_acquire);
}

/* What is within reach; false: there is no key. */
static inline bool rdm_keys_get(uintptr_t distance, size_t rail, struct rdm_key *key)
{
	const struct rdm_key *entry = &rdm_keys.rail[rail][distance >> RDM_GRANULE_SHIFT];
	/* It is written last, and taken away first. */
	size_t length = __atomic_load_n(&entry->length, __ATOMIC_ACQUIRE);

	if (__builtin_expect(!length, 0))
		return false;
	memcpy(key, entry, offsetof(struct rdm_key, length));
	key->length = length;
	return true;
}

/* 0 or an errno value. */
int rdm_keys_open(size_t reserve);
void rdm_keys_close(void);
/* Makes entries for all addresses before `end`. 0 or an errno value. */
int rdm_keys_cover(const void *end);

void rdm_keys_set(int rail, void *base, size_t length, const struct rdm_mr *mr);
void rdm_keys_clear(int rail, const void *base, size_t length);
/* In a child: what is there are the parent's. */
void rdm_keys_postfork_child(void);

#endif
