/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_RESERVE_H
#define RDM_RESERVE_H

/*
 * The one range of addresses that every slab of every pool is carved from, in
 * granules of 2 MiB. It is claimed (claim.h): memory is mapped where a slab is, and nowhere else.
 * Slabs are MADV_DONTFORK, so the child gets holes that it maps again at once, except
 * *kept* memory: what a child inherited or made from its parent's slabs, which
 * its own children inherit by ordinary copy-on-write.
 *
 * What is called the reserve's size is how far into it slabs have ever been: beyond, nothing is
 * ours, and no table has entries.
 *
 * Called by slab.c under the quiesce lock, which guards it, and by fork.c.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/size_class.h"

#define RDM_GRANULE_SHIFT 21
#define RDM_GRANULE ((size_t)1 << RDM_GRANULE_SHIFT)

/* Not _Atomic: frees, which come after both, let the CPU use them where they lie. */
struct rdm_reserve {
	uintptr_t base; /* does not change after size is there */
	size_t size;    /* grows, when the tables beside what is new are there, too */
};
extern struct rdm_reserve rdm_reserve __attribute__((visibility("hidden")));

static inline size_t rdm_reserve_size(void)
{
	return __atomic_load_n(&rdm_reserve.size, __ATOMIC_ACQUIRE);
}

/* How far p is from the start, for who has a pointer into the reserve or has looked at its size. */
static inline uintptr_t rdm_reserve_distance(const void *p)
{
	return (uintptr_t)p - rdm_reserve.base;
}

/* The same in units of 64 bytes; where p is no multiple of them, more than any reserve has. */
static inline uintptr_t rdm_reserve_units(const void *p)
{
	uintptr_t distance = rdm_reserve_distance(p);

	return distance >> RDM_UNIT_SHIFT | distance << (64 - RDM_UNIT_SHIFT);
}

/* Distance, for any address at any time. False: it is not in the reserve. */
static inline bool rdm_reserve_find(const void *p, uintptr_t *distance)
{
	/* The size first: it is published last. */
	size_t size = rdm_reserve_size();

	*distance = (uintptr_t)p - __atomic_load_n(&rdm_reserve.base, __ATOMIC_RELAXED);
	return *distance < size;
}

static inline bool rdm_reserve_has(const void *p)
{
	uintptr_t distance;

	return rdm_reserve_find(p, &distance);
}

/* Claims the reserve, unless it is there; inheritable: as if all were kept. 0 or errno. */
int rdm_reserve_open(bool inheritable);
/* How long it can become; 0: it is not open. */
size_t rdm_reserve_capacity(void);
/* The tables have entries for all before `end`. */
void rdm_reserve_extend(const void *end);
/* Undoes open; nothing has been taken. */
void rdm_reserve_close(void);

bool rdm_reserve_has_room(size_t length, size_t align);
/*
 * Addresses for a slab, multiples of the granule, with memory that nobody can touch yet
 * (PROT_NONE, charged for when it can be). NULL with errno: ENOSPC when the reserve is used up.
 */
void *rdm_reserve_take(size_t length, size_t align);
/* Unmaps the memory and returns the addresses. 0 or an errno value: then they stay taken. */
int rdm_reserve_release(void *addr, size_t length);
/* Whether children of this process inherit these granules. */
void rdm_reserve_keep(void *addr, size_t length, bool keep);
bool rdm_reserve_keeps(const void *addr);

/* Marks everything that is not kept MADV_DONTFORK again. */
void rdm_reserve_prefork(void);
/* Maps everything that is not kept again, so that nothing else can slip in. */
void rdm_reserve_postfork_child(void);

#endif
