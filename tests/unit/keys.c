/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs come, grow, go and refuse to go, and so does a rail: at each step, for every
 * address that a slab ever had, rdm_key() says what the registrar knows of it.
 */
#include "support.h"

#include <errno.h>

enum { STEPS = 600, BLOCKS = 12, SEEN = 4096, MOST_SLABS = 5 };

static rdm_pool *pool;
static struct t_recorder *rail[2];
static char *seen[SEEN]; /* where granules of slabs were */
static size_t count;

static void remember(char *base, size_t length)
{
	for (size_t at = 0; at < length; at += T_SLAB) {
		size_t i = 0;

		while (i < count && seen[i] != base + at)
			i++;
		T_CHECK(i < SEEN);
		seen[i] = base + at;
		count += i == count;
	}
}

static void on_reg(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)recorder;
	remember(addr, length);
}

static void check_address(char *address, int number)
{
	const struct t_region *region = t_recorder_find(rail[number], address, 1);
	struct rdm_key key;

	errno = 0;
	if (!region) {
		T_CHECKF(rdm_key(address, number, &key) == -1, "a key of %p on rail %d",
			 (void *)address, number);
		T_CHECK(errno == (rdm_pool_of(address) ? ENOENT : EINVAL));
		return;
	}
	T_CHECKF(!rdm_key(address, number, &key), "no key of %p on rail %d", (void *)address,
		 number);
	T_CHECK(key.handle == region && key.lkey == region->key);
	T_CHECK((uintptr_t)key.base == region->base && key.length == region->length);
}

static unsigned check_all(void)
{
	unsigned keys = 0;

	for (size_t i = 0; i < count; i++) {
		for (int number = 0; number < 2; number++) {
			check_address(seen[i], number);
			check_address(seen[i] + T_SLAB - 1, number);
			keys += t_recorder_find(rail[number], seen[i], 1) != NULL;
		}
	}
	return keys;
}

/* Whether the second rail is there. */
static bool turn_rail(bool there, bool refuses)
{
	rail[1]->fail_dereg = there && refuses;
	if (!there)
		T_CHECK(t_recorder_add(rail[1], pool) == 1);
	else if (rdm_pool_remove_rail(pool, 1))
		T_CHECK(refuses && !rdm_pool_remove_rail(pool, 1));
	rail[1]->fail_dereg = 0;
	return !there;
}

int main(void)
{
	struct t_rng rng = { .state = t_seed() };
	void *block[BLOCKS] = { NULL };
	bool second = false;
	unsigned keys = 0, most = 0;

	pool = t_pool("keys", 0, 0, T_SLAB, 0);
	for (int i = 0; i < 2; i++) {
		rail[i] = t_recorder_new("rail");
		rail[i]->on_reg = on_reg;
	}
	T_CHECK(t_recorder_add(rail[0], pool) == 0);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)t_below(&rng, BLOCKS);

		rdm_free(block[i]);
		block[i] = NULL;
		if (t_below(&rng, 3))
			block[i] = t_malloc(pool, 1 + t_below(&rng, MOST_SLABS * T_SLAB));
		if (!t_below(&rng, 8))
			second = turn_rail(second, t_below(&rng, 2));
		if (!t_below(&rng, 4)) {
			rail[0]->fail_dereg = t_below(&rng, 2);
			(void)rdm_pool_trim(pool, 0);
			rail[0]->fail_dereg = 0;
		}
		keys = check_all();
		most = keys > most ? keys : most;
	}
	t_say("%zu addresses, at most %u keys of them at a time", count, most);
	T_CHECK(most > 10);
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(block[i]);
	T_CHECK(!rdm_pool_trim(pool, 0) && !check_all());
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}
