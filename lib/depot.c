/* SPDX-License-Identifier: BSD-2-Clause */
#include "depot.h"

#include <string.h>

#include "meta.h"

void rdm_depot_init(struct rdm_depot *depot)
{
	*depot = (struct rdm_depot){ 0 };
	pthread_mutex_init(&depot->lock, NULL);
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
		rdm_magazines_free(depot->classes[c]);
	rdm_magazines_free(depot->empty);
	pthread_mutex_destroy(&depot->lock);
}

static void push(struct rdm_magazine **list, struct rdm_magazine *magazine)
{
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

/* Fills the magazine on top, or else an empty one. How many blocks it took. */
static size_t put_some(struct rdm_depot *depot, unsigned class, void **blocks, size_t count)
{
	struct rdm_magazine **list = &depot->classes[class];
	size_t room;

	if (!*list || (*list)->count == RDM_MAGAZINE_BLOCKS) {
		struct rdm_magazine *empty = pop(&depot->empty);

		if (!empty)
			return 0;
		push(list, empty);
	}
	room = RDM_MAGAZINE_BLOCKS - (*list)->count;
	if (count > room)
		count = room;
	memcpy((*list)->blocks + (*list)->count, blocks, count * sizeof(blocks[0]));
	(*list)->count += count;
	return count;
}

size_t rdm_depot_put(struct rdm_depot *depot, unsigned class, void **blocks, size_t count)
{
	struct rdm_magazine *fresh;
	size_t put = 0;

	for (;;) {
		size_t some;

		rdm_depot_lock(depot);
		while (put < count && (some = put_some(depot, class, blocks + put, count - put)))
			put += some;
		rdm_depot_unlock(depot);
		if (put == count)
			return put;
		fresh = rdm_meta_alloc(sizeof(*fresh));
		if (!fresh)
			return put;
		rdm_depot_give(depot, class, fresh);
	}
}

size_t rdm_depot_take(struct rdm_depot *depot, unsigned class, void **blocks, size_t most)
{
	struct rdm_magazine **list = &depot->classes[class];
	size_t taken = 0;

	rdm_depot_lock(depot);
	while (*list && taken < most) {
		size_t some = (*list)->count < most - taken ? (*list)->count : most - taken;

		(*list)->count -= some;
		memcpy(blocks + taken, (*list)->blocks + (*list)->count, some * sizeof(blocks[0]));
		taken += some;
		if (!(*list)->count)
			push(&depot->empty, pop(list));
	}
	rdm_depot_unlock(depot);
	return taken;
}

void rdm_depot_give(struct rdm_depot *depot, unsigned class, struct rdm_magazine *magazine)
{
	rdm_depot_lock(depot);
	push(magazine->count ? &depot->classes[class] : &depot->empty, magazine);
	rdm_depot_unlock(depot);
}

struct rdm_magazine *rdm_depot_take_magazine(struct rdm_depot *depot, unsigned class)
{
	struct rdm_magazine *magazine;

	rdm_depot_lock(depot);
	magazine = pop(&depot->classes[class]);
	rdm_depot_unlock(depot);
	return magazine;
}

struct rdm_magazine *rdm_depot_take_empty(struct rdm_depot *depot)
{
	struct rdm_magazine *magazine;

	rdm_depot_lock(depot);
	magazine = pop(&depot->empty);
	rdm_depot_unlock(depot);
	return magazine ? magazine : rdm_meta_alloc(sizeof(*magazine));
}

struct rdm_magazine *rdm_depot_take_all(struct rdm_depot *depot, unsigned class)
{
	struct rdm_magazine *list;

	rdm_depot_lock(depot);
	list = depot->classes[class];
	depot->classes[class] = NULL;
	rdm_depot_unlock(depot);
	return list;
}

size_t rdm_depot_bytes(struct rdm_depot *depot)
{
	size_t bytes = 0;

	rdm_depot_lock(depot);
	for (unsigned c = 1; c <= RDM_CLASS_MAX; c++)
		for (const struct rdm_magazine *each = depot->classes[c]; each; each = each->next)
			bytes += each->count * rdm_class_size(c);
	rdm_depot_unlock(depot);
	return bytes;
}

void rdm_depot_lock(struct rdm_depot *depot)
{
	pthread_mutex_lock(&depot->lock);
}

void rdm_depot_unlock(struct rdm_depot *depot)
{
	pthread_mutex_unlock(&depot->lock);
}
