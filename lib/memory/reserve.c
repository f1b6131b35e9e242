/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/reserve.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ablate.h"
#include "base/bits.h"
#include "base/blame.h"
#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/claim.h"
#include "memory/sidetable.h"
#include "sync/quiesce.h"

/* More than any machine pins, and it costs nothing; see RDMALLOC_CONF=reserve. */
#define DEFAULT_SIZE ((size_t)4 << 40)
#define BLANK_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

struct rdm_reserve rdm_reserve;

/* Bits of granules: those that are not free, and those that children inherit. */
static struct rdm_sidetable taken_table, kept_table;
static size_t capacity; /* in granules */
static size_t known;    /* granules that have bits */
static size_t used;     /* granules before the end of the last that was ever taken */
static size_t lowest_free;
static size_t kept_granules;
static bool all_inheritable;

static unsigned long *taken(void)
{
	return (unsigned long *)taken_table.base;
}

static unsigned long *kept(void)
{
	return (unsigned long *)kept_table.base;
}

static size_t granule_of(const void *addr)
{
	size_t granule = rdm_reserve_distance(addr) >> RDM_GRANULE_SHIFT;

	rdm_assert(granule < known);
	return granule;
}

static char *granule_address(size_t granule)
{
	rdm_assert(granule <= known);
	return (char *)(rdm_reserve.base + (granule << RDM_GRANULE_SHIFT));
}

static int mark_dontfork(void *addr, size_t length)
{
	if (all_inheritable || rdm_ablated(RDM_ABLATE_DONTFORK))
		return 0;
	return madvise(addr, length, MADV_DONTFORK) ? errno : 0;
}

/* Makes bits for so many granules, or for more. 0 or an errno value. */
static int know(size_t granules)
{
	int error = rdm_sidetable_cover(&taken_table, (granules + 63) / 64 * 8);

	rdm_assert(granules <= capacity);
	if (!error)
		error = rdm_sidetable_cover(&kept_table, (granules + 63) / 64 * 8);
	if (!error)
		known = taken_table.usable < kept_table.usable ? taken_table.usable * 8 :
								 kept_table.usable * 8;
	if (known > capacity)
		known = capacity;
	return error;
}

static int claim_bits(void)
{
	int error = rdm_sidetable_claim(&taken_table, (capacity + 63) / 64 * 8);

	if (!error)
		error = rdm_sidetable_claim(&kept_table, (capacity + 63) / 64 * 8);
	return error ? error : know(1);
}

int rdm_reserve_open(bool inheritable)
{
	size_t wanted = rdm_conf()->reserve, size;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!capacity);
	size = wanted ? (wanted + RDM_GRANULE - 1) & ~(RDM_GRANULE - 1) : DEFAULT_SIZE;
	wanted = wanted ? size : 0;
	__atomic_store_n(&rdm_reserve.base, rdm_claim_open(&size), __ATOMIC_RELAXED);
	if (!rdm_reserve.base) {
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){ errno ? errno : ENOMEM,
						 RDM_WANT_ADDRESSES | RDM_WANT_MAPPINGS,
						 RDM_GRANULE, "set RDMALLOC_CONF=reserve:SIZE" },
			  "no range of addresses is free for slabs");
		return ENOMEM;
	}
	if (size < wanted)
		rdm_log(RDM_LOG_WARN, "the reserve is %zu MiB instead of %zu: no more are free",
			size >> 20, wanted >> 20);
	all_inheritable = inheritable;
	capacity = size >> RDM_GRANULE_SHIFT;
	error = claim_bits();
	if (error)
		rdm_reserve_close();
	return error;
}

size_t rdm_reserve_capacity(void)
{
	return capacity << RDM_GRANULE_SHIFT;
}

void rdm_reserve_extend(const void *end)
{
	size_t size = rdm_reserve_distance(end);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(size <= known << RDM_GRANULE_SHIFT);
	if (size > rdm_reserve_size())
		__atomic_store_n(&rdm_reserve.size, size, __ATOMIC_RELEASE);
}

void rdm_reserve_close(void)
{
	rdm_assert(!rdm_reserve_size());
	__atomic_store_n(&rdm_reserve.base, 0, __ATOMIC_RELAXED);
	capacity = known = 0;
	rdm_sidetable_unmap(&taken_table);
	rdm_sidetable_unmap(&kept_table);
	rdm_claim_close();
}

static size_t find_known(size_t length, size_t align)
{
	size_t step = align > RDM_GRANULE ? align >> RDM_GRANULE_SHIFT : 1;
	/* Alignment is one of addresses, so it counts from address 0. */
	size_t offset = (rdm_reserve.base >> RDM_GRANULE_SHIFT) & (step - 1);

	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(align && !(align & (align - 1)));
	return rdm_bits_find_clear(taken(), known, lowest_free, length >> RDM_GRANULE_SHIFT, step,
				   offset);
}

static size_t find_free(size_t length, size_t align)
{
	size_t first;

	while ((first = find_known(length, align)) == RDM_BITS_NONE && known < capacity)
		if (know(known + 1))
			break;
	return first;
}

bool rdm_reserve_has_room(size_t length, size_t align)
{
	rdm_assert(rdm_quiesce_is_held());
	return find_free(length, align) != RDM_BITS_NONE;
}

/* Somebody else has a granule of these or several: no slab will ever be there. */
static void leave_to_others(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		int error = rdm_claim_map(granule_address(i), RDM_GRANULE, PROT_NONE, 0);

		if (error == EEXIST) {
			rdm_bits_assign(taken(), i, 1, true);
			rdm_bits_assign(kept(), i, 1, true);
			kept_granules++;
		} else if (!error) {
			munmap(granule_address(i), RDM_GRANULE);
		}
	}
}

void *rdm_reserve_take(size_t length, size_t align)
{
	size_t count = length >> RDM_GRANULE_SHIFT, first;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	while ((first = find_free(length, align)) != RDM_BITS_NONE &&
	       (error = rdm_claim_map(granule_address(first), length, PROT_NONE, 0))) {
		if (error != EEXIST) {
			errno = error;
			return NULL;
		}
		leave_to_others(first, count);
	}
	if (first == RDM_BITS_NONE) {
		errno = ENOSPC;
		return NULL;
	}
	rdm_bits_assign(taken(), first, count, true);
	if (first == lowest_free)
		lowest_free = first + count;
	if (first + count > used)
		used = first + count;
	return granule_address(first);
}

int rdm_reserve_release(void *addr, size_t length)
{
	size_t first = granule_of(addr);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(rdm_bits_next(taken(), first + (length >> RDM_GRANULE_SHIFT), first, false) ==
		   first + (length >> RDM_GRANULE_SHIFT));
	/* Through libc, so that registration caches that watch munmap hear of it. */
	if (munmap(addr, length))
		return errno;
	rdm_reserve_keep(addr, length, false);
	rdm_bits_assign(taken(), first, length >> RDM_GRANULE_SHIFT, false);
	if (first < lowest_free)
		lowest_free = first;
	return 0;
}

void rdm_reserve_keep(void *addr, size_t length, bool keep)
{
	size_t first = granule_of(addr);
	size_t run = length >> RDM_GRANULE_SHIFT;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(first + run <= known);
	for (size_t i = first; i < first + run; i++) {
		kept_granules += keep - rdm_reserve_keeps(granule_address(i));
	}
	rdm_bits_assign(kept(), first, run, keep);
}

bool rdm_reserve_keeps(const void *addr)
{
	size_t granule = granule_of(addr);

	return kept_granules && rdm_bits_next(kept(), granule + 1, granule, true) == granule;
}

/* Calls for each run of granules that are taken and not kept. */
static void for_each_own_run(void (*call)(void *addr, size_t length))
{
	size_t first = 0, end, own;

	if (!capacity || all_inheritable)
		return;
	for (; (first = rdm_bits_next(taken(), used, first, true)) < used; first = end) {
		end = rdm_bits_next(taken(), used, first, false);
		own = kept_granules ? rdm_bits_next(kept(), end, first, true) : end;
		if (own > first)
			call(granule_address(first), (own - first) << RDM_GRANULE_SHIFT);
		if (own < end)
			end = rdm_bits_next(kept(), end, own, false);
	}
}

static void assert_dontfork(void *addr, size_t length)
{
	int error = mark_dontfork(addr, length);

	if (error)
		rdm_log(RDM_LOG_ERROR,
			"fork: MADV_DONTFORK on slabs failed (%d): data of this process can be lost",
			error);
}

/* Something is at this granule in a child whose hole was not empty. */
static void settle_granule(char *addr)
{
	static bool complained;
	size_t granule = granule_of(addr);

	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	if (rdm_bits_next(taken(), granule + 1, granule, true) == granule) {
		if (!complained)
			rdm_log(RDM_LOG_WARN,
				"fork: the child found memory at %p, where slabs are, and takes it away: "
				"somebody undid MADV_DONTFORK while fork() ran, or mapped it in a child "
				"handler that came before ours",
				(void *)addr);
		complained = true;
		if (mmap(addr, RDM_GRANULE, PROT_NONE, BLANK_FLAGS | MAP_FIXED, -1, 0) ==
		    MAP_FAILED)
			rdm_die("fork: the child cannot map its hole again (errno %d)", errno);
	} else {
		/* Another library's child handler was faster; no pointer of ours leads there. */
		rdm_bits_assign(taken(), granule, 1, true);
		rdm_reserve_keep(addr, RDM_GRANULE, true);
	}
}

static void map_again(void *addr, size_t length)
{
	void *got = mmap(addr, length, PROT_NONE, BLANK_FLAGS | MAP_FIXED_NOREPLACE, -1, 0);
	size_t half = (length / 2 + RDM_GRANULE - 1) & ~(RDM_GRANULE - 1);

	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	if (got == addr)
		return;
	if (got == MAP_FAILED && errno != EEXIST)
		rdm_die("fork: the child cannot map its hole again (errno %d)", errno);
	/* Before 4.17 the address is only a hint. */
	if (got != MAP_FAILED)
		munmap(got, length);
	if (length == RDM_GRANULE) {
		settle_granule(addr);
		return;
	}
	map_again(addr, half);
	map_again((char *)addr + half, length - half);
}

void rdm_reserve_prefork(void)
{
	if (!rdm_ablated(RDM_ABLATE_REASSERT))
		for_each_own_run(assert_dontfork);
}

void rdm_reserve_postfork_child(void)
{
	for_each_own_run(map_again);
}
