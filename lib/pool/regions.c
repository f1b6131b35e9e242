/* SPDX-License-Identifier: BSD-2-Clause */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"
#include "pool/pool.h"
#include "rdmalloc.h"
#include "slab/registration.h"
#include "sync/quiesce.h"

/*
 * A description is a header and `count` regions, sorted by address; every
 * number is big-endian. A reader refuses a version that it does not know.
 */
#define MAGIC 0x72646d52u /* "rdmR" */
#define VERSION 1

struct header {
	uint32_t magic;
	uint16_t version;
	uint16_t region_bytes;
	uint32_t generation;
	uint32_t count;
};

struct region {
	uint64_t address;
	uint64_t length;
	uint32_t rkey;
	uint32_t reserved;
};

_Static_assert(sizeof(struct header) == 16 && sizeof(struct region) == 24, "wire format");

/* Nothing is ever live in a quarantined slab. */
static bool has_key(const struct rdm_slab *slab, int rail)
{
	return !slab->quarantined && rdm_slab_rails(slab) & (1U << rail);
}

static void write_regions(const struct rdm_pool *pool, int rail, size_t count, char *out)
{
	struct header header = {
		.magic = htobe32(MAGIC),
		.version = htobe16(VERSION),
		.region_bytes = htobe16(sizeof(struct region)),
		.generation = htobe32(pool->regions),
		.count = htobe32((uint32_t)count),
	};
	const struct rdm_slab *slab;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	memcpy(out, &header, sizeof(header));
	out += sizeof(header);
	TAILQ_FOREACH (slab, &pool->slabs.slabs, link) {
		struct region region = {
			.address = htobe64((uintptr_t)slab->base),
			.length = htobe64(slab->length),
			.rkey = htobe32(slab->mr[rail].rkey),
		};

		if (!has_key(slab, rail))
			continue;
		memcpy(out, &region, sizeof(region));
		out += sizeof(region);
	}
}

static ssize_t export(const struct rdm_pool *pool, int rail, void *buffer, size_t capacity)
{
	const struct rdm_slab *slab;
	size_t count = 0, size;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rail >= 0 && rail < RDM_RAILS_MAX);
	TAILQ_FOREACH (slab, &pool->slabs.slabs, link)
		count += has_key(slab, rail);
	size = sizeof(struct header) + count * sizeof(struct region);
	if (buffer && size <= capacity)
		write_regions(pool, rail, count, buffer);
	return (ssize_t)size;
}

ssize_t rdm_regions_export(rdm_pool *pool, int rail, void *buffer, size_t capacity)
{
	ssize_t size;
	int error = 0;

	if (!rdm_pool_check(pool, "rdm_regions_export") || !rdm_quiesce_enter("rdm_regions_export"))
		return -1;
	if (atomic_load(&pool->heap.inherited))
		error = ECHILD;
	else if (rail < 0 || rail >= RDM_RAILS_MAX || !pool->slabs.rails[rail].used)
		error = ENOENT;
	else if (!buffer && capacity)
		error = EINVAL;
	size = error ? 0 : export(pool, rail, buffer, capacity);
	return rdm_quiesce_leave(error) ? -1 : size;
}

/* The number of regions, -1 when it is no description. */
static int64_t check(const void *buffer, size_t size, struct header *header)
{
	uint32_t count;

	if (!buffer || size < sizeof(*header))
		return -1;
	memcpy(header, buffer, sizeof(*header));
	count = be32toh(header->count);
	if (be32toh(header->magic) != MAGIC || be16toh(header->version) != VERSION ||
	    be16toh(header->region_bytes) != sizeof(struct region) ||
	    (size - sizeof(*header)) / sizeof(struct region) < count)
		return -1;
	return count;
}

int rdm_regions_check(const void *buffer, size_t size, uint32_t *generation)
{
	struct header header;

	if (check(buffer, size, &header) < 0) {
		errno = EPROTO;
		return -1;
	}
	if (generation)
		*generation = be32toh(header.generation);
	return 0;
}

static struct region read_region(const void *buffer, int64_t index)
{
	struct region region;

	rdm_assert(index >= 0);
	memcpy(&region,
	       (const char *)buffer + sizeof(struct header) + (size_t)index * sizeof(region),
	       sizeof(region));
	region.address = be64toh(region.address);
	region.length = be64toh(region.length);
	region.rkey = be32toh(region.rkey);
	return region;
}

int rdm_regions_resolve(const void *buffer, size_t size, uint64_t address, uint64_t length,
			uint32_t *rkey)
{
	struct header header;
	int64_t low = 0, high = check(buffer, size, &header);

	if (high < 0 || !rkey) {
		errno = high < 0 ? EPROTO : EINVAL;
		return -1;
	}
	while (low < high) {
		int64_t middle = low + (high - low) / 2;
		struct region region = read_region(buffer, middle);

		if (address < region.address) {
			high = middle;
		} else if (address - region.address >= region.length) {
			low = middle + 1;
		} else if (length <= region.length - (address - region.address)) {
			*rkey = region.rkey;
			return 0;
		} else {
			break;
		}
	}
	errno = EFAULT;
	return -1;
}
