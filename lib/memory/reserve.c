/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/reserve.h"

#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/bits.h"
#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/sidetable.h"
#include "sync/quiesce.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define GIB ((size_t)1 << 30)
#define SMALLEST (16 * RDM_GRANULE)
#define BLANK_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

struct rdm_reserve rdm_reserve;

static struct rdm_sidetable taken_table, kept_table;
static size_t granules;
static size_t opened; /* bytes mapped, published or not */
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
	rdm_assert(rdm_reserve_has(addr));
	return rdm_reserve_distance(addr) >> RDM_GRANULE_SHIFT;
}

static char *granule_address(size_t granule)
{
	rdm_assert(granule <= granules);
	return (char *)(rdm_reserve.base + (granule << RDM_GRANULE_SHIFT));
}

static size_t wanted_size(void)
{
	const struct rdm_conf *conf = rdm_conf();
	size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
	size_t size = 64 * GIB;
	struct rlimit limit;

	if (conf->reserve)
		return (conf->reserve + RDM_GRANULE - 1) & ~(RDM_GRANULE - 1);
	while (size < 2 * memory)
		size *= 2;
	/* The program needs most of a limited address space for itself. */
	if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY)
		while (size > SMALLEST && size > limit.rlim_cur / 4)
			size /= 2;
	return size;
}

/* Huge pages of 1 GiB need slabs at multiples of it. */
static char *map_aligned(size_t size)
{
	size_t align = size >= 4 * GIB ? GIB : RDM_GRANULE;
	char *raw = mmap(NULL, size + align, PROT_NONE, BLANK_FLAGS, -1, 0);
	char *base;

	if (raw == MAP_FAILED)
		return NULL;
	base = (char *)(((uintptr_t)raw + align - 1) & ~(align - 1));
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	if (raw + align > base)
		munmap(base + size, (size_t)(raw + align - base));
	return base;
}

static int map_tables(size_t size)
{
	size_t bytes = (size / RDM_GRANULE + 63) / 64 * 8;
	int error = rdm_sidetable_map(&taken_table, bytes);

	rdm_assert(size && !(size & (RDM_GRANULE - 1)));
	if (!error)
		error = rdm_sidetable_map(&kept_table, bytes);
	if (!error)
		error = rdm_sidetable_cover(&taken_table, bytes);
	if (!error)
		error = rdm_sidetable_cover(&kept_table, bytes);
	return error;
}

static int mark_dontfork(void *addr, size_t length)
{
	if (all_inheritable || rdm_ablated(RDM_ABLATE_DONTFORK))
		return 0;
	return madvise(addr, length, MADV_DONTFORK) ? errno : 0;
}

static char *map_what_is_possible(size_t wanted, size_t *size)
{
	char *base;

	for (*size = wanted; !(base = map_aligned(*size)) && *size > SMALLEST;)
		*size = (*size / 2) & ~(RDM_GRANULE - 1);
	if (!base)
		rdm_log(RDM_LOG_ERROR,
			"cannot reserve even %zu MiB of addresses (%s): raise RLIMIT_AS (ulimit -v), or "
			"RLIMIT_MEMLOCK (ulimit -l) after mlockall(MCL_FUTURE)",
			*size >> 20, strerror(errno));
	else if (*size < wanted)
		rdm_log(RDM_LOG_WARN,
			"the reserve is %zu MiB instead of %zu: raise RLIMIT_AS (ulimit -v) for more",
			*size >> 20, wanted >> 20);
	return base;
}

int rdm_reserve_open(size_t *size, bool inheritable)
{
	char *base = map_what_is_possible(wanted_size(), size);
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!rdm_reserve_size() && size);
	if (!base)
		return ENOMEM;
	__atomic_store_n(&rdm_reserve.base, (uintptr_t)base, __ATOMIC_RELAXED);
	opened = *size;
	all_inheritable = inheritable;
	error = mark_dontfork(base, *size);
	if (!error)
		error = map_tables(*size);
	if (error)
		rdm_reserve_close();
	else
		granules = *size >> RDM_GRANULE_SHIFT;
	return error;
}

void rdm_reserve_publish(void)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(opened);
	rdm_assert(!rdm_reserve_size());
	__atomic_store_n(&rdm_reserve.size, opened, __ATOMIC_RELEASE);
}

void rdm_reserve_close(void)
{
	rdm_assert(!rdm_reserve_size());
	munmap((void *)rdm_reserve.base, opened);
	__atomic_store_n(&rdm_reserve.base, 0, __ATOMIC_RELAXED);
	opened = 0;
	rdm_sidetable_unmap(&taken_table);
	rdm_sidetable_unmap(&kept_table);
}

static size_t find_free(size_t length, size_t align)
{
	size_t step = align > RDM_GRANULE ? align >> RDM_GRANULE_SHIFT : 1;
	/* Alignment is one of addresses, so it counts from address 0. */
	size_t offset = (rdm_reserve.base >> RDM_GRANULE_SHIFT) & (step - 1);

	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(align && !(align & (align - 1)));
	return rdm_bits_find_clear(taken(), granules, lowest_free, length >> RDM_GRANULE_SHIFT,
				   step, offset);
}

bool rdm_reserve_has_room(size_t length, size_t align)
{
	rdm_assert(rdm_quiesce_is_held());
	return find_free(length, align) != RDM_BITS_NONE;
}

void *rdm_reserve_take(size_t length, size_t align)
{
	size_t first = find_free(length, align);

	rdm_assert(rdm_quiesce_is_held());
	if (first == RDM_BITS_NONE)
		return NULL;
	rdm_bits_assign(taken(), first, length >> RDM_GRANULE_SHIFT, true);
	if (first == lowest_free)
		lowest_free = first + (length >> RDM_GRANULE_SHIFT);
	return granule_address(first);
}

int rdm_reserve_release(void *addr, size_t length)
{
	size_t first = granule_of(addr);
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(rdm_bits_next(taken(), first + (length >> RDM_GRANULE_SHIFT), first, false) ==
		   first + (length >> RDM_GRANULE_SHIFT));
	/* Through libc, so that registration caches that watch mmap hear of it. */
	if (mmap(addr, length, PROT_NONE, BLANK_FLAGS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return errno;
	rdm_reserve_keep(addr, length, false);
	error = mark_dontfork(addr, length);
	if (error)
		rdm_log(RDM_LOG_WARN, "madvise(MADV_DONTFORK) on returned addresses: %s",
			strerror(error));
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
	rdm_assert(rdm_reserve_has((char *)addr + length - 1));
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

/* Calls for each run of granules that is not kept. */
static void for_each_own_run(void (*call)(void *addr, size_t length))
{
	size_t first = 0;

	if (!rdm_reserve_size() || all_inheritable)
		return;
	if (!kept_granules) {
		call((void *)rdm_reserve.base, rdm_reserve.size);
		return;
	}
	while ((first = rdm_bits_next(kept(), granules, first, false)) < granules) {
		size_t end = rdm_bits_next(kept(), granules, first, true);

		call(granule_address(first), (end - first) << RDM_GRANULE_SHIFT);
		first = end;
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
