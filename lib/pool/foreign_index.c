/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/foreign_index.h"

#include <errno.h>

#include "base/contract.h"
#include "memory/meta.h"
#include "sync/quiesce.h"

/*
 * By their first address. `reach` is how far this entry and all before it go: who looks for an
 * address goes back from the last entry that starts at or before it, until none reaches it.
 */
struct entry {
	_Atomic uintptr_t start, end, reach;
	struct rdm_foreign *_Atomic record;
};

/*
 * What is read without a lock. Odd `changes`: it is being changed. Whatever is written then is
 * released, and acquired by who reads, so he sees in `changes` that it was being written.
 */
static _Atomic unsigned changes;
static struct entry *_Atomic table;
static _Atomic size_t count;
/*
 * The record that an address was found in: whoever reads fills it. One that is used no more has no
 * length, and where records overlap, of which the oldest is wanted, nobody looks here.
 */
#define RECENT_BITS 9
static struct rdm_foreign *_Atomic recent[1 << RECENT_BITS];
static _Atomic bool overlapping;

/* Under the quiesce lock. */
static size_t capacity;

static uintptr_t get(const _Atomic uintptr_t *value)
{
	return atomic_load_explicit(value, memory_order_acquire);
}

static unsigned begin_reading(void)
{
	unsigned seen;

	do
		seen = atomic_load_explicit(&changes, memory_order_acquire);
	while (seen & 1);
	return seen;
}

bool rdm_foreign_has_changed(unsigned seen)
{
	return atomic_load_explicit(&changes, memory_order_relaxed) != seen;
}

static void begin_change(void)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!(atomic_load(&changes) & 1));
	atomic_fetch_add(&changes, 1);
}

static void end_change(void)
{
	const struct entry *entries = atomic_load(&table);
	bool overlaps = false;

	for (size_t i = 1; i < atomic_load(&count) && !overlaps; i++)
		overlaps = get(&entries[i - 1].reach) > get(&entries[i].start);
	atomic_store_explicit(&overlapping, overlaps, memory_order_relaxed);
	rdm_assert(atomic_load(&changes) & 1);
	atomic_fetch_add(&changes, 1);
}

static struct rdm_foreign *record_of(const struct entry *entry)
{
	return atomic_load_explicit(&entry->record, memory_order_acquire);
}

/* How many entries start at or before an address. */
static size_t until(const struct entry *entries, size_t n, uintptr_t address)
{
	size_t low = 0;

	while (low < n) {
		size_t middle = low + (n - low) / 2;

		if (get(&entries[middle].start) <= address)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

/* The oldest that covers the range: whoever asked for a part of one finds the same one again. */
static struct rdm_foreign *search(uintptr_t start, uintptr_t end)
{
	const struct entry *entries = atomic_load_explicit(&table, memory_order_acquire);
	size_t i = until(entries, atomic_load_explicit(&count, memory_order_acquire), start);
	struct rdm_foreign *found = NULL;

	for (; i && get(&entries[i - 1].reach) >= end; i--) {
		struct rdm_foreign *record = record_of(&entries[i - 1]);

		if (get(&entries[i - 1].end) >= end && (!found || record->born < found->born))
			found = record;
	}
	return found;
}

struct rdm_foreign *rdm_foreign_find(uintptr_t start, uintptr_t end)
{
	/* Buffers are apart by powers of two, which the golden ratio spreads. */
	size_t place = (start >> 12) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - RECENT_BITS);
	struct rdm_foreign *record = atomic_load_explicit(&recent[place], memory_order_acquire);

	if (record && !atomic_load_explicit(&overlapping, memory_order_relaxed) &&
	    start >= (uintptr_t)record->base && end <= (uintptr_t)record->base + record->length)
		return record;
	record = search(start, end);
	atomic_store_explicit(&recent[place], record, memory_order_release);
	return record;
}

int rdm_foreign_key(const void *ptr, size_t rail, struct rdm_key *key)
{
	uintptr_t at = (uintptr_t)ptr;
	const struct rdm_foreign *record;
	unsigned seen;
	int error;

	if (!atomic_load_explicit(&count, memory_order_relaxed) || at + 1 < at)
		return EINVAL;
	do {
		seen = begin_reading();
		record = rdm_foreign_find(at, at + 1);
		if (!record)
			error = EINVAL;
		else if (atomic_load(&record->inherited))
			error = ECHILD;
		else if (rail >= RDM_RAILS_MAX ||
			 !(atomic_load_explicit(&record->keyed, memory_order_acquire) >> rail & 1))
			error = ENOENT;
		else {
			error = 0;
			*key = (struct rdm_key){
				.lkey = __atomic_load_n(&record->mr[rail].lkey, __ATOMIC_ACQUIRE),
				.rkey = __atomic_load_n(&record->mr[rail].rkey, __ATOMIC_ACQUIRE),
				.handle =
					__atomic_load_n(&record->mr[rail].handle, __ATOMIC_ACQUIRE),
				.base = record->base,
				.length = record->length
			};
		}
	} while (rdm_foreign_has_changed(seen));
	return error;
}

static void put(struct entry *entry, const struct entry *before, struct rdm_foreign *record)
{
	uintptr_t start = (uintptr_t)record->base, end = start + record->length;
	uintptr_t reach = before ? get(&before->reach) : 0;

	atomic_store_explicit(&entry->start, start, memory_order_release);
	atomic_store_explicit(&entry->end, end, memory_order_release);
	atomic_store_explicit(&entry->reach, reach > end ? reach : end, memory_order_release);
	atomic_store_explicit(&entry->record, record, memory_order_release);
}

/* Who reads the old one finds the same there, so it stays: half of what the new one takes, at most. */
bool rdm_foreign_have_room(void)
{
	size_t more = capacity ? 2 * capacity : 64;
	const struct entry *old = atomic_load(&table);
	struct entry *entries;

	rdm_assert(rdm_quiesce_is_held());
	if (atomic_load(&count) < capacity)
		return true;
	entries = rdm_meta_alloc(more * sizeof(*entries));
	if (!entries)
		return false;
	for (size_t i = 0; i < capacity; i++)
		put(&entries[i], i ? &entries[i - 1] : NULL, record_of(&old[i]));
	atomic_store(&table, entries);
	capacity = more;
	return true;
}

/* There is room. */
void rdm_foreign_insert(struct rdm_foreign *record, size_t length)
{
	struct entry *entries = atomic_load(&table);
	size_t n = atomic_load(&count);
	size_t place = until(entries, n, (uintptr_t)record->base);

	rdm_assert(n < capacity && !record->length);
	begin_change();
	record->length = length;
	for (size_t i = n; i > place; i--)
		atomic_store_explicit(&entries[i].record, record_of(&entries[i - 1]),
				      memory_order_release);
	atomic_store_explicit(&entries[place].record, record, memory_order_release);
	for (size_t i = place; i <= n; i++)
		put(&entries[i], i ? &entries[i - 1] : NULL, record_of(&entries[i]));
	atomic_store(&count, n + 1);
	end_change();
}

static size_t place_of(const struct rdm_foreign *record)
{
	const struct entry *entries = atomic_load(&table);
	size_t i = until(entries, atomic_load(&count), (uintptr_t)record->base);

	while (record_of(&entries[i - 1]) != record)
		i--;
	return i - 1;
}

void rdm_foreign_take_out(struct rdm_foreign *record)
{
	struct entry *entries = atomic_load(&table);
	size_t n = atomic_load(&count) - 1;

	begin_change();
	for (size_t i = place_of(record); i < n; i++)
		put(&entries[i], i ? &entries[i - 1] : NULL, record_of(&entries[i + 1]));
	atomic_store(&count, n);
	record->length = 0;
	end_change();
}

bool rdm_foreign_rests(void)
{
	return !(atomic_load(&changes) & 1);
}

struct rdm_foreign *rdm_foreign_next(const struct rdm_foreign *before)
{
	size_t place = before ? place_of(before) + 1 : 0;

	return place < atomic_load(&count) ? record_of(&atomic_load(&table)[place]) : NULL;
}

struct rdm_foreign *rdm_foreign_find_quickly(const struct rdm_pool *pool, uintptr_t from,
					     uintptr_t to, unsigned *seen)
{
	struct rdm_foreign *record;

	if (!pool || to <= from || !atomic_load_explicit(&count, memory_order_relaxed))
		return NULL;
	*seen = begin_reading();
	record = rdm_foreign_find(from, to);
	if (!record || record->pool != pool || atomic_load(&record->inherited) ||
	    rdm_foreign_has_changed(*seen))
		return NULL;
	return record;
}

void rdm_foreign_postfork_child(void)
{
	struct rdm_foreign *record = NULL;

	/* A thread that the child does not have, or that has forked meanwhile, was changing it. */
	if (!rdm_foreign_rests()) {
		atomic_store(&count, 0);
		atomic_fetch_add(&changes, 1);
	}
	while ((record = rdm_foreign_next(record))) {
		atomic_store(&record->inherited, true);
		record->shadow = NULL;
	}
}
