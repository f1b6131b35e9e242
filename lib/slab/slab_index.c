/* SPDX-License-Identifier: BSD-2-Clause */
#include "slab/slab_index.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/contract.h"
#include "memory/meta.h"

static size_t larger_child(const struct rdm_slab_index *index, size_t node)
{
	uint32_t left = index->most[2 * node], right = index->most[2 * node + 1];

	rdm_assert(node < index->granules);
	return left > right ? left : right;
}

int rdm_slab_index_make(struct rdm_slab_index *index, size_t last)
{
	size_t granules = RDM_BITS_WORD;
	size_t tree, bits;
	char *memory;

	while (granules <= last)
		granules *= 2;
	tree = 2 * granules * sizeof(index->most[0]);
	bits = granules / 8;
	memory = rdm_meta_alloc(tree + 2 * bits);
	if (!memory)
		return ENOMEM;
	*index = (struct rdm_slab_index){
		.granules = granules,
		.most = (uint32_t *)(void *)memory,
		.slabs = (unsigned long *)(void *)(memory + tree),
		.idle = (unsigned long *)(void *)(memory + tree + bits),
	};
	return 0;
}

void rdm_slab_index_free(struct rdm_slab_index *index)
{
	rdm_meta_free(index->most);
	*index = (struct rdm_slab_index){ 0 };
}

void rdm_slab_index_widen(struct rdm_slab_index *index, struct rdm_slab_index *wider)
{
	struct rdm_slab_index old = *index;

	rdm_assert(wider->granules > index->granules);
	if (old.granules) {
		memcpy(wider->slabs, old.slabs, old.granules / 8);
		memcpy(wider->idle, old.idle, old.granules / 8);
		memcpy(wider->most + wider->granules, old.most + old.granules,
		       old.granules * sizeof(old.most[0]));
	}
	for (size_t node = wider->granules; --node;)
		wider->most[node] = (uint32_t)larger_child(wider, node);
	*index = *wider;
	*wider = old;
}

void rdm_slab_index_offer(struct rdm_slab_index *index, size_t granule, size_t pages)
{
	size_t node = index->granules + granule;

	rdm_assert(granule < index->granules);
	rdm_assert(index->most);
	/* Nobody asks for so many. */
	if (pages > UINT32_MAX)
		pages = UINT32_MAX;
	while (index->most[node] != pages) {
		index->most[node] = (uint32_t)pages;
		if (node == 1)
			break;
		node /= 2;
		pages = larger_child(index, node);
	}
}

size_t rdm_slab_index_find(const struct rdm_slab_index *index, size_t from, size_t pages)
{
	size_t node = index->granules + from;

	rdm_assert(pages);
	if (from >= index->granules)
		return RDM_BITS_NONE;
	/* The largest subtree that begins there. */
	node >>= __builtin_ctzl(node);
	while (index->most[node] < pages) {
		node++;
		/* Past the end of a level. */
		if (!(node & (node - 1)))
			return RDM_BITS_NONE;
		node >>= __builtin_ctzl(node);
	}
	while (node < index->granules) {
		node *= 2;
		node += index->most[node] < pages;
	}
	return node - index->granules;
}
