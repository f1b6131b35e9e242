/* SPDX-License-Identifier: BSD-2-Clause */
#include "ledger.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { UNIT = 64, FULL = 512, EDGE = 64, WORDS = 24 };

/* For each 64 bytes of the reserve: 0, or pool and block. */
static _Atomic(uint32_t) *owners;
static uintptr_t reserve_lo, reserve_hi;

void ledger_start(void)
{
	void *probe = t_malloc(ledger_pools[0].pool, 1);
	size_t units;

	t_reserve_of((uintptr_t)probe, &reserve_lo, &reserve_hi);
	rdm_free(probe);
	units = (reserve_hi - reserve_lo) / UNIT;
	/* Shared: fork() would else copy its page tables and break it up. */
	owners = mmap(NULL, units * sizeof(*owners), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	T_CHECKF(owners != MAP_FAILED, "no table of %zu units: %s", units, strerror(errno));
}

static size_t unit_of(const void *p)
{
	return ((uintptr_t)p - reserve_lo) / UNIT;
}

static uint32_t owner_of(const struct ledger_block *block)
{
	return ((uint32_t)(block->pool + 1) << 28) | ((uint32_t)block->id & 0xfffffff);
}

static void own(const struct ledger_block *block)
{
	size_t first = unit_of(block->addr), last = unit_of(block->addr + block->usable - 1);

	for (size_t i = first; i <= last; i++) {
		uint32_t before = atomic_exchange(&owners[i], owner_of(block));

		T_CHECKF(!before, "%p + %zu overlaps a block of pool %u", (void *)block->addr,
			 block->usable, (before >> 28) - 1);
	}
}

void ledger_disown(const struct ledger_block *block)
{
	size_t first = unit_of(block->addr), last = unit_of(block->addr + block->usable - 1);

	for (size_t i = first; i <= last; i++) {
		uint32_t before = atomic_exchange(&owners[i], 0);

		T_CHECKF(before == owner_of(block), "%p was taken over", (void *)block->addr);
	}
}

/* I3: whoever owns a piece of this page owns it in the same pool. */
static void check_page(const struct ledger_block *block, const void *in)
{
	uintptr_t page = (uintptr_t)in & ~(uintptr_t)(t_page() - 1);
	size_t first = unit_of((void *)page);

	for (size_t i = first; i < first + t_page() / UNIT; i++) {
		uint32_t owner = owners[i];

		T_CHECKF(!owner || owner >> 28 == block->pool + 1,
			 "the page of %p is shared with pool %u", in, (owner >> 28) - 1);
	}
}

/* I4, and that the registration is one that the registrar knows. */
static void check_keys(const struct ledger_block *block)
{
	const struct ledger_pool *pool = &ledger_pools[block->pool];
	unsigned char *last = block->addr + block->usable - 1;
	struct rdm_key head, tail;

	for (int rail = 0; rail < pool->rails; rail++) {
		const struct t_region *region;

		T_CHECK(!rdm_key(block->addr, rail, &head) && !rdm_key(last, rail, &tail));
		T_CHECKF(head.base == tail.base && head.length == tail.length &&
				 head.lkey == tail.lkey && head.rkey == tail.rkey &&
				 head.handle == tail.handle,
			 "%p + %zu has two keys", (void *)block->addr, block->usable);
		T_CHECK((unsigned char *)head.base <= block->addr &&
			last < (unsigned char *)head.base + head.length);
		region = head.handle;
		T_CHECKF(region->live && region->base == (uintptr_t)head.base &&
				 region->length == head.length && region->key == head.lkey,
			 "the key of %p is of no live registration", (void *)block->addr);
		T_CHECK(region >= pool->recorder[rail]->region &&
			region < pool->recorder[rail]->region + T_REGIONS);
	}
	errno = 0;
	T_CHECK(rdm_key(block->addr, pool->rails, &head) == -1 && errno == ENOENT);
}

static uint64_t word_at(const struct ledger_block *block, size_t offset)
{
	return (block->id + 1) * 0x9e3779b97f4a7c15 + offset * 0xff51afd7ed558ccd;
}

/* Visits the bytes of a block that are filled: all of a small one, samples of a large one. */
static size_t next_offset(const struct ledger_block *block, unsigned step)
{
	size_t inner;

	if (block->size <= FULL)
		return step * 8;
	if (step < EDGE / 8)
		return step * 8;
	step -= EDGE / 8;
	if (step < EDGE / 8)
		return block->size - EDGE + step * 8;
	step -= EDGE / 8;
	inner = block->size - 2 * EDGE;
	return step < WORDS ? EDGE + inner / WORDS * step : SIZE_MAX;
}

static void fill(const struct ledger_block *block)
{
	size_t offset;
	uint64_t word;

	for (unsigned i = 0; (offset = next_offset(block, i)) < block->size; i++) {
		word = word_at(block, offset);
		memcpy(block->addr + offset, &word,
		       block->size - offset < 8 ? block->size - offset : 8);
	}
}

void ledger_verify(const struct ledger_block *block, size_t limit)
{
	size_t offset;
	uint64_t word;

	for (unsigned i = 0; (offset = next_offset(block, i)) < block->size; i++) {
		size_t end = offset + 8 < block->size ? offset + 8 : block->size;

		if (end > limit)
			end = limit;
		word = word_at(block, offset);
		T_CHECKF(offset >= end || !memcmp(block->addr + offset, &word, end - offset),
			 "%p + %zu of %zu (%s, %s) was changed", (void *)block->addr, offset,
			 block->size, ledger_pools[block->pool].name,
			 limit < block->size ? "cut" : "whole");
	}
}

void ledger_verify_inherited(const struct ledger_block *block)
{
	unsigned char *last = block->addr + block->size - 1;

	switch (ledger_pools[block->pool].fork) {
	case RDM_FORK_HOLE:
		T_CHECKF(t_faults(block->addr, false) && t_faults(last, false),
			 "%p is no hole in the child", (void *)block->addr);
		break;
	case RDM_FORK_ZERO:
		T_CHECKF(t_is_byte(block->addr, block->size, 0), "%p is not zero in the child",
			 (void *)block->addr);
		break;
	default:
		ledger_verify(block, block->size);
	}
}

void ledger_adopt(struct ledger_block *block, void *addr, size_t size, size_t alignment)
{
	block->addr = addr;
	block->size = size;
	block->usable = rdm_usable_size(addr);
	T_CHECKF(block->usable >= size, "%zu usable of %zu", block->usable, size);
	T_CHECKF(reserve_lo <= (uintptr_t)addr && (uintptr_t)addr + block->usable <= reserve_hi,
		 "%p is outside the reserve", addr);
	if (alignment < UNIT)
		alignment = UNIT;
	T_CHECKF(!((uintptr_t)addr & (alignment - 1)), "%p is not aligned to %zu", addr, alignment);
	T_CHECK(rdm_pool_of((char *)addr + size - 1) == ledger_pools[block->pool].pool);
	own(block);
	check_page(block, block->addr);
	check_page(block, block->addr + block->usable - 1);
	check_keys(block);
	fill(block);
}
