/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/claim.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/contract.h"
#include "sync/quiesce.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER
#endif
#endif

#define GIB ((size_t)1 << 30)
/* A table of a byte for each 64 is the longest; all together are less than twice that. */
#define TABLES(size) ((size) / 32 + ((size_t)1 << 20))

static struct {
	_Atomic uintptr_t first, end;
	uintptr_t next; /* the first that no table has */
} tables;

int rdm_claim_map(void *addr, size_t length, int protection, int flags)
{
	void *got = mmap(addr, length, protection,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | flags, -1, 0);

	rdm_assert(addr && length);
	if (got == addr)
		return 0;
	if (got == MAP_FAILED)
		return errno;
	/* Before Linux 4.17 (commit a4ff8e8620d3) the address is only a hint. */
	munmap(got, length);
	return EEXIST;
}

/*
 * Whether the kernel accepts such addresses and has nothing there, as far as a page in each of so
 * many parts shows: whoever maps a part of the range is seen later, by the slab that wants it.
 * The whole range is not mapped: valgrind would keep a record of each 64 KiB of it.
 */
#define PARTS 64

static bool is_empty(uintptr_t base, size_t length)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), part = (length / PARTS) & ~(page - 1);

	rdm_assert(!(base & (GIB - 1)));
	rdm_assert(part);
	for (size_t i = 0; i <= PARTS; i++) {
		void *at = (void *)(i < PARTS ? base + i * part : base + length - page);

		if (rdm_claim_map(at, page, PROT_NONE, MAP_NORESERVE))
			return false;
		munmap(at, page);
	}
	return true;
}

/* Where the kernel puts what programs map. 0: it has nothing left. */
static uintptr_t ask_kernel(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return 0;
	munmap(at, page);
	return (uintptr_t)at;
}

/*
 * The kernel maps downwards from `top`, and programs and their heaps grow upwards from a bit
 * below two thirds of it, or from the bottom. Five eighths are between, one eighth is for more
 * than fits there; the others are for tools that give a program less (sanitizers, valgrind).
 */
static uintptr_t find_place(uintptr_t top, size_t length)
{
#ifdef THREAD_SANITIZER
	/* It maps what is asked for elsewhere at any address, page 0 included, and ends there. */
	const uintptr_t places[] = { length < 512 * GIB ? top - 512 * GIB : 0 };
#else
	const uintptr_t places[] = { top / 8 * 5,      top / 8,    top - 512 * GIB,
				     top - 2 * length, 1024 * GIB, 64 * GIB };
#endif

	rdm_assert(length);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uintptr_t base = places[i] & ~(GIB - 1);

		/* A difference that is negative is a large number, which the kernel refuses. */
		if (base && is_empty(base, length))
			return base;
	}
	return 0;
}

uintptr_t rdm_claim_open(size_t *size)
{
	uintptr_t top = ask_kernel(), base = 0;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(size && *size);
	while (top && !(base = find_place(top, *size + TABLES(*size))) && *size > GIB)
		*size = (*size / 2 + GIB - 1) & ~(GIB - 1);
	if (!base)
		return 0;
	tables.next = base + *size;
	tables.first = tables.next;
	tables.end = tables.next + TABLES(*size);
	return base;
}

void rdm_claim_close(void)
{
	tables.next = 0;
	tables.first = tables.end = 0;
}

void *rdm_claim_table(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *table = (void *)tables.next;

	rdm_assert(rdm_quiesce_is_held());
	bytes = (bytes + page - 1) & ~(page - 1);
	if (bytes > tables.end - tables.next)
		return NULL;
	tables.next += bytes;
	return table;
}

bool rdm_claim_tables(uintptr_t *first, uintptr_t *end)
{
	*end = atomic_load(&tables.end);
	*first = atomic_load(&tables.first);
	return *first && *first < *end;
}
