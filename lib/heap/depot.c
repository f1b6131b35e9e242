/* SPDX-License-Identifier: BSD-2-Clause */
#include "heap/depot.h"

#include <string.h>

#include "base/clock.h"
#include "base/contract.h"
#include "memory/meta.h"
#include "sync/lock.h"

/* At least so many milliseconds between two looks, at so many classes. */
#define LOOK_MS 2
#define LOOK_CLASSES 16

void rdm_depot_init(struct rdm_depot *depot)
{
	*depot = (struct rdm_depot){ .lock = RDM_LOCK_INIT(RDM_RANK_DEPOT) };
}

void rdm_magazines_free(struct rdm_magazine *list)
{
	while (list) {
		struct rdm_magazine *next = list->next;

		rdm_meta_free(list);
		list = next;
	}
}

void rdm_depot_destroy(struct rdm_depot *depot)
{
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		rdm_magazines_free(depot->shelves[c].magazines);
	rdm_magazines_free(depot->empty);
	rdm_lock_destroy(&depot->lock);
}

static void push(struct rdm_magazine **list, struct rdm_magazine *magazine)
{
	rdm_assert(magazine);
	rdm_assert(magazine != *list);
	magazine->next = *list;
	*list = magazine;
}

static struct rdm_magazine *pop(struct rdm_magazine **list)
{
	struct rdm_magazine *magazine = *list;

	if (magazine)
		*list = magazine->next;
	return magazine;
}

static void add_bytes(struct rdm_depot *depot, size_t bytes)
{
	size_t before = atomic_load_explicit(&depot->bytes, memory_order_relaxed);

	rdm_assert(rdm_lock_is_mine(&depot->lock));
	atomic_store_explicit(&depot->bytes, before + bytes, memory_order_relaxed);
}

static void count_in(struct rdm_depot *depot, unsigned class, size_t blocks)
{
	depot->shelves[class].count += blocks;
	add_bytes(depot, blocks * rdm_class_size(class));
}

static void count_out(struct rdm_depot *depot, unsigned class, size_t blocks)
{
	struct rdm_shelf *shelf = &depot->shelves[class];

	rdm_assert(shelf->count >= blocks);
	shelf->count -= blocks;
	add_bytes(depot, -(blocks * rdm_class_size(class)));
	if (shelf->idle > shelf->count)
		shelf->idle = shelf->count;
}

/* Fills the magazine on top, or else an empty one. How many blocks it took. */
static size_t put_some(struct rdm_depot *depot, unsigned class, void **blocks, size_t count)
{
	struct rdm_shelf *shelf = &depot->shelves[class];
	struct rdm_magazine *top = shelf->magazines;
	size_t room;

	rdm_assert(rdm_lock_is_mine(&depot->lock));
	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(count);
	rdm_assert(!top || (top->count && top->count <= RDM_MAGAZINE_BLOCKS));
	if (!top || top->count == RDM_MAGAZINE_BLOCKS) {
		top = pop(&depot->empty);
		if (!top)
			return 0;
		push(&shelf->magazines, top);
	}
	room = RDM_MAGAZINE_BLOCKS - top->count;
	if (count > room)
		count = room;
	memcpy(top->blocks + top->count, blocks, count * sizeof(blocks[0]));
	top->count += count;
	count_in(depot, class, count);
	return count;
}

size_t rdm_depot_put(struct rdm_depot *depot, unsigned class, void **blocks, size_t count)
{
	struct rdm_magazine *fresh;
	size_t put = 0;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(blocks || !count);
	for (;;) {
		size_t some;

		rdm_lock_take(&depot->lock);
		while (put < count && (some = put_some(depot, class, blocks + put, count - put)))
			put += some;
		rdm_lock_release(&depot->lock);
		if (put == count)
			return put;
		fresh = rdm_depot_take_empty(depot);
		if (!fresh)
			return put;
		rdm_depot_put_magazine(depot, class, fresh);
	}
}

static size_t take_some(struct rdm_depot *depot, unsigned class, void **blocks, size_t most)
{
	struct rdm_shelf *shelf = &depot->shelves[class];
	size_t taken = 0;

	rdm_assert(rdm_lock_is_mine(&depot->lock));
	rdm_assert(class && class <= RDM_CLASS_MAX);
	while (shelf->magazines && taken < most) {
		struct rdm_magazine *top = shelf->magazines;
		size_t some = top->count < most - taken ? top->count : most - taken;

		top->count -= some;
		memcpy(blocks + taken, top->blocks + top->count, some * sizeof(blocks[0]));
		taken += some;
		if (!top->count)
			push(&depot->empty, pop(&shelf->magazines));
	}
	count_out(depot, class, taken);
	return taken;
}

size_t rdm_depot_take(struct rdm_depot *depot, unsigned class, void **blocks, size_t most)
{
	size_t taken;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(blocks && most);
	rdm_lock_take(&depot->lock);
	taken = take_some(depot, class, blocks, most);
	depot->asked++;
	depot->answered += taken != 0;
	rdm_lock_release(&depot->lock);
	return taken;
}

void rdm_depot_put_magazine(struct rdm_depot *depot, unsigned class, struct rdm_magazine *magazine)
{
	struct rdm_shelf *shelf = &depot->shelves[class];

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_assert(magazine && magazine->count <= RDM_MAGAZINE_BLOCKS);
	rdm_lock_take(&depot->lock);
	push(magazine->count ? &shelf->magazines : &depot->empty, magazine);
	count_in(depot, class, magazine->count);
	rdm_lock_release(&depot->lock);
}

struct rdm_magazine *rdm_depot_take_magazine(struct rdm_depot *depot, unsigned class)
{
	struct rdm_shelf *shelf = &depot->shelves[class];
	struct rdm_magazine *magazine;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_lock_take(&depot->lock);
	magazine = pop(&shelf->magazines);
	if (magazine) {
		count_out(depot, class, magazine->count);
		/* Who gets none asks for blocks next. */
		depot->asked++;
		depot->answered++;
	}
	rdm_lock_release(&depot->lock);
	return magazine;
}

size_t rdm_depot_weed(struct rdm_depot *depot, unsigned *class, void **blocks, size_t most)
{
	uint32_t now = rdm_clock_ms();
	struct rdm_shelf *shelf;
	size_t weeded = 0;

	rdm_assert(blocks && most);
	if (now - atomic_load_explicit(&depot->looked, memory_order_relaxed) < LOOK_MS)
		return 0;
	rdm_lock_take(&depot->lock);
	atomic_store_explicit(&depot->looked, now, memory_order_relaxed);
	for (unsigned i = 0; i < LOOK_CLASSES && !weeded; i++) {
		*class = depot->hand = depot->hand % RDM_CLASS_MAX + 1;
		shelf = &depot->shelves[*class];
		weeded = take_some(depot, *class, blocks, shelf->idle < most ? shelf->idle : most);
		shelf->idle = shelf->count;
	}
	rdm_lock_release(&depot->lock);
	return weeded;
}

struct rdm_magazine *rdm_depot_take_empty(struct rdm_depot *depot)
{
	struct rdm_magazine *magazine;
	bool asks;

	rdm_lock_take(&depot->lock);
	magazine = pop(&depot->empty);
	asks = !magazine && rdm_patience_asks(&depot->patience);
	rdm_lock_release(&depot->lock);
	if (!asks)
		return magazine;
	magazine = rdm_meta_alloc(sizeof(*magazine));
	rdm_lock_take(&depot->lock);
	rdm_patience_learns(&depot->patience, magazine);
	rdm_lock_release(&depot->lock);
	return magazine;
}

struct rdm_magazine *rdm_depot_take_all(struct rdm_depot *depot, unsigned class)
{
	struct rdm_shelf *shelf = &depot->shelves[class];
	struct rdm_magazine *list;

	rdm_assert(class && class <= RDM_CLASS_MAX);
	rdm_lock_take(&depot->lock);
	list = shelf->magazines;
	count_out(depot, class, shelf->count);
	*shelf = (struct rdm_shelf){ 0 };
	rdm_lock_release(&depot->lock);
	return list;
}

void rdm_depot_count(struct rdm_depot *depot, uint64_t *asked, uint64_t *answered)
{
	rdm_assert(asked && answered);
	rdm_lock_take(&depot->lock);
	*asked = depot->asked;
	*answered = depot->answered;
	rdm_lock_release(&depot->lock);
}

size_t rdm_depot_bytes(struct rdm_depot *depot)
{
	return atomic_load_explicit(&depot->bytes, memory_order_relaxed);
}

/* Of the class that has most bytes. */
static unsigned richest(const struct rdm_depot *depot)
{
	unsigned class = 1;
	size_t most = 0;

	rdm_assert(rdm_lock_is_mine(&depot->lock));
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		if (depot->shelves[c].count * rdm_class_size(c) > most) {
			most = depot->shelves[c].count * rdm_class_size(c);
			class = c;
		}
	return class;
}

/* What is above the bound, of the class that was put last if that has a good part of it. */
size_t rdm_depot_take_excess(struct rdm_depot *depot, size_t bound, unsigned *class, void **blocks,
			     size_t most)
{
	size_t taken = 0, bytes, size;

	rdm_assert(*class && *class <= RDM_CLASS_MAX);
	rdm_assert(blocks && most);
	if (rdm_depot_bytes(depot) <= bound)
		return 0;
	rdm_lock_take(&depot->lock);
	bytes = rdm_depot_bytes(depot);
	if (bytes > bound) {
		if (depot->shelves[*class].count * rdm_class_size(*class) < bytes / 8)
			*class = richest(depot);
		size = rdm_class_size(*class);
		if (most > (bytes - bound + size - 1) / size)
			most = (bytes - bound + size - 1) / size;
		taken = take_some(depot, *class, blocks, most);
	}
	rdm_lock_release(&depot->lock);
	return taken;
}

bool rdm_depot_has(const struct rdm_depot *depot, unsigned class)
{
	return __atomic_load_n(&depot->shelves[class].count, __ATOMIC_RELAXED) != 0;
}
