/* SPDX-License-Identifier: BSD-2-Clause */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t recorder_rkey(uint32_t key)
{
	return key ^ 0x5a5a5a5a;
}

static struct t_region *free_slot(struct t_recorder *recorder)
{
	for (size_t i = 0; i < recorder->used; i++)
		if (!recorder->region[i].live)
			return &recorder->region[i];
	T_CHECKF(recorder->used < T_REGIONS, "more than %d registrations", T_REGIONS);
	return &recorder->region[recorder->used++];
}

static int recorder_reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	struct t_recorder *recorder = context;
	uintptr_t base = (uintptr_t)addr;
	struct t_region *region;

	T_CHECKF(!recorder->inside++, "two threads in one registrar");
	T_CHECKF(length && (recorder->any || (!(base % t_page()) && !(length % t_page()))),
		 "registration of %p + %zu is not of whole pages", addr, length);
	T_CHECKF(!recorder->ops.max_len || length <= recorder->ops.max_len,
		 "registration of %zu is longer than max_len", length);
	T_CHECKF(recorder->any || !t_recorder_touches(recorder, base, base + length),
		 "%p + %zu is registered twice", addr, length);
	recorder->regs++;
	if (recorder->on_reg)
		recorder->on_reg(recorder, addr, length);
	recorder->inside--;
	if (recorder->fail_reg && !--recorder->fail_reg)
		return recorder->fail_errno;
	region = free_slot(recorder);
	region->base = base;
	region->length = length;
	region->key = (uint32_t)recorder->regs * 8 + 1;
	region->live = true;
	recorder->live++;
	*mr = (struct rdm_mr){ .lkey = region->key,
			       .rkey = recorder_rkey(region->key),
			       .handle = region };
	return 0;
}

static int recorder_dereg(void *context, const struct rdm_mr *mr)
{
	struct t_recorder *recorder = context;
	struct t_region *region = mr->handle;

	T_CHECKF(!recorder->inside++, "two threads in one registrar");
	T_CHECKF(region->live && region->key == mr->lkey && recorder_rkey(region->key) == mr->rkey,
		 "deregistration of what is not registered");
	/* A slab must be whole until its last registration is gone: else SIGSEGV. */
	(void)*(volatile char *)region->base;
	(void)*(volatile char *)(region->base + region->length - 1);
	if (recorder->on_dereg)
		recorder->on_dereg(recorder, (void *)region->base, region->length);
	recorder->inside--;
	if (recorder->fail_dereg) {
		recorder->fail_dereg--;
		return EIO;
	}
	recorder->deregs++;
	recorder->live--;
	region->live = false;
	return 0;
}

struct t_recorder *t_recorder_new(const char *name)
{
	struct t_recorder *recorder = calloc(1, sizeof(*recorder));

	T_CHECK(recorder);
	recorder->ops.size = sizeof(recorder->ops);
	recorder->ops.name = name;
	recorder->ops.reg = recorder_reg;
	recorder->ops.dereg = recorder_dereg;
	return recorder;
}

void t_recorder_free(struct t_recorder *recorder)
{
	free(recorder);
}

int t_recorder_add(struct t_recorder *recorder, rdm_pool *pool)
{
	int rail = rdm_pool_add_rail(pool, &recorder->ops, recorder);

	T_CHECKF(rail >= 0, "rdm_pool_add_rail: %s", strerror(errno));
	return rail;
}

const struct t_region *t_recorder_find(struct t_recorder *recorder, const void *addr, size_t len)
{
	uintptr_t lo = (uintptr_t)addr;

	for (size_t i = 0; i < recorder->used; i++) {
		struct t_region *region = &recorder->region[i];

		if (region->live && region->base <= lo && lo - region->base < region->length &&
		    len <= region->length - (lo - region->base))
			return region;
	}
	return NULL;
}

bool t_recorder_touches(struct t_recorder *recorder, uintptr_t lo, uintptr_t hi)
{
	for (size_t i = 0; i < recorder->used; i++) {
		struct t_region *region = &recorder->region[i];

		if (region->live && region->base < hi && lo < region->base + region->length)
			return true;
	}
	return false;
}

void t_recorder_fill(struct t_recorder *recorder, int byte)
{
	for (size_t i = 0; i < recorder->used; i++)
		if (recorder->region[i].live)
			memset((void *)recorder->region[i].base, byte, recorder->region[i].length);
}

rdm_pool *t_pool(const char *name, unsigned backing, unsigned fork_policy, size_t slab,
		 size_t limit)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	rdm_pool *pool;

	config.name = name;
	config.backing = backing;
	config.fork = fork_policy;
	config.slab_size = slab;
	config.limit = limit;
	pool = rdm_pool_create(&config);
	T_CHECKF(pool, "rdm_pool_create: %s", strerror(errno));
	return pool;
}

void *t_malloc(rdm_pool *pool, size_t size)
{
	void *p = rdm_malloc(pool, size);

	T_CHECKF(p, "rdm_malloc(%zu): %s", size, strerror(errno));
	return p;
}

void t_malloc_and_free(rdm_pool *pool, size_t size, unsigned count)
{
	void *block[128];

	T_CHECK(count <= sizeof(block) / sizeof(block[0]));
	for (unsigned i = 0; i < count; i++)
		block[i] = t_malloc(pool, size);
	for (unsigned i = 0; i < count; i++)
		rdm_free(block[i]);
}

struct rdm_stats t_stats(rdm_pool *pool)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	T_CHECKF(!rdm_pool_stats(pool, &stats), "rdm_pool_stats: %s", strerror(errno));
	return stats;
}

size_t t_audit(rdm_pool *pool)
{
	struct rdm_audit audit = { .size = sizeof(audit) };

	T_CHECKF(!rdm_pool_audit(pool, &audit), "rdm_pool_audit: %s", strerror(errno));
	if (audit.violations)
		t_say("audit of %zu pages: inheritable %zu, mergeable %zu, absent %zu, "
		      "not exclusive %zu, not writable %zu, unregistered %zu",
		      audit.pages, audit.inheritable, audit.mergeable, audit.absent,
		      audit.not_exclusive, audit.not_writable, audit.unregistered);
	return audit.violations;
}

static uint64_t pattern_word(uint64_t id, size_t index)
{
	uint64_t z = (id + 1) * 0x9e3779b97f4a7c15 + index * 0xc2b2ae3d27d4eb4f;

	return z ^ (z >> 29);
}

void t_pattern_fill(void *addr, size_t len, uint64_t id)
{
	char *p = addr;
	size_t i, words = len / 8;
	uint64_t word;

	for (i = 0; i < words; i++) {
		word = pattern_word(id, i);
		memcpy(p + 8 * i, &word, 8);
	}
	word = pattern_word(id, i);
	memcpy(p + 8 * i, &word, len % 8);
}

size_t t_pattern_check(const void *addr, size_t len, uint64_t id)
{
	const char *p = addr;
	uint64_t word;

	for (size_t i = 0; i < len; i += 8) {
		word = pattern_word(id, i / 8);
		if (memcmp(p + i, &word, len - i < 8 ? len - i : 8))
			return i;
	}
	return len;
}

bool t_is_byte(const void *addr, size_t len, int byte)
{
	const unsigned char *p = addr;

	return !len || (*p == (unsigned char)byte && !memcmp(p, p + 1, len - 1));
}
