/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Size classes are jemalloc's; ranges of bits and the index of slabs are what a plain
 * loop says; sizes parse.
 */
#include "support.h"

#include <jemalloc/jemalloc.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/conf.h"
#include "memory/meta.h"
#include "base/size_class.h"
#include "slab/slab_index.h"

enum { BITS = 500, ROUNDS = 20000 };

static void classes_are_those_of_jemalloc(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= RDM_CLASS_MAX; i++) {
		size_t size = rdm_class_size(i);

		assert_int_equal(rdm_je_nallocx(size, 0), size);
		assert_int_equal(rdm_class_of(size), i);
		assert_int_equal(rdm_class_of(rdm_class_size(i - 1) + 1), i);
	}
	assert_int_equal(rdm_class_of(0), 1);
	assert_int_equal(rdm_class_of(RDM_SIZE_MAX + 1), 0);
	assert_int_equal(rdm_class_of(SIZE_MAX), 0);
}

static bool bit(const unsigned long *words, size_t i)
{
	return words[i / RDM_BITS_WORD] >> i % RDM_BITS_WORD & 1;
}

static size_t find_slowly(const unsigned long *words, size_t from, size_t run, size_t align,
			  size_t offset)
{
	for (size_t start = from; start + run <= BITS; start++) {
		size_t free = 0;

		if ((start + offset) % align)
			continue;
		while (free < run && !bit(words, start + free))
			free++;
		if (free == run)
			return start;
	}
	return RDM_BITS_NONE;
}

static size_t last_slowly(const unsigned long *words, size_t from, size_t end, bool value)
{
	while (end-- > from)
		if (bit(words, end) == value)
			return end;
	return RDM_BITS_NONE;
}

static void ranges_of_bits(void **state)
{
	unsigned long words[BITS / RDM_BITS_WORD + 1] = { 0 };
	struct t_rng rng = { .state = t_seed() };

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t from = t_below(&rng, BITS), run = 1 + t_below(&rng, BITS - from);
		size_t align = (size_t)1 << t_below(&rng, 6), offset = t_below(&rng, align);
		bool value = t_below(&rng, 2);

		if (run > 40)
			run = 1 + run % 40;
		if (from + run <= BITS)
			rdm_bits_assign(words, from, run, value);
		for (size_t i = from; i < from + run && i < BITS; i++)
			assert_true(bit(words, i) == value);
		from = t_below(&rng, BITS);
		assert_int_equal(rdm_bits_find_clear(words, BITS, from, run, align, offset),
				 find_slowly(words, from, run, align, offset));
		for (size_t i = from; i <= BITS; i++)
			if (i == BITS || bit(words, i) == value) {
				assert_int_equal(rdm_bits_next(words, BITS, from, value), i);
				break;
			}
		run = from + t_below(&rng, BITS + 1 - from);
		assert_int_equal(rdm_bits_last(words, from, run, value),
				 last_slowly(words, from, run, value));
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		bool good;
		size_t bytes;
	} cases[] = {
		{ "0", true, 0 },
		{ "4096", true, 4096 },
		{ "8K", true, 8192 },
		{ "3M", true, (size_t)3 << 20 },
		{ "2G", true, (size_t)2 << 30 },
		{ "1T", true, (size_t)1 << 40 },
		{ "18446744073709551615", true, SIZE_MAX },
		{ "18446744073709551616", false, 0 },
		{ "18446744073709551615K", false, 0 },
		{ "", false, 0 },
		{ "M", false, 0 },
		{ "-1", false, 0 },
		{ "4MB", false, 0 },
		{ "4 M", false, 0 },
		{ "0x10", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t bytes = 0;
		bool good = rdm_conf_parse_size(cases[i].text, strlen(cases[i].text), &bytes);

		assert_true(good == cases[i].good);
		assert_true(!good || bytes == cases[i].bytes);
	}
}

/* Offers at random, widened now and then, against an array. */
static void index_of_slabs(void **state)
{
	enum { GRANULES = 3000 };
	struct rdm_slab_index index = { 0 }, wider;
	size_t offered[GRANULES] = { 0 }, covered = 0;
	struct t_rng rng = { .state = t_seed() };

	(void)state;
	assert_int_equal(rdm_slab_index_find(&index, 0, 1), RDM_BITS_NONE);
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t granule = t_below(&rng, covered < GRANULES ? covered + 1 : GRANULES);
		size_t pages = t_log_uniform(&rng, 1, 1 << 20), from, expected;

		if (granule >= index.granules) {
			assert_int_equal(rdm_slab_index_make(&wider, granule), 0);
			rdm_slab_index_widen(&index, &wider);
			rdm_slab_index_free(&wider);
		}
		if (granule == covered)
			covered++;
		offered[granule] = t_below(&rng, 3) ? 0 : pages;
		rdm_slab_index_offer(&index, granule, offered[granule]);
		assert_int_equal(rdm_slab_index_offered(&index, granule), offered[granule]);
		from = t_below(&rng, index.granules + 2);
		pages = t_log_uniform(&rng, 1, 1 << 21);
		for (expected = from; expected < covered && offered[expected] < pages;)
			expected++;
		assert_int_equal(rdm_slab_index_find(&index, from, pages),
				 expected < covered ? expected : RDM_BITS_NONE);
	}
	rdm_slab_index_free(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes_are_those_of_jemalloc),
		cmocka_unit_test(ranges_of_bits),
		cmocka_unit_test(sizes),
		cmocka_unit_test(index_of_slabs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
