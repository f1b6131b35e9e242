/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A depot against a plain model: each block is in it once or not at all, however its
 * magazines are filled, emptied and passed on; what nobody wants goes, and nothing else; and
 * where there is no memory for a magazine it takes what there is room for.
 */
#include "support.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "heap/depot.h"
#include "memory/meta.h"
#include "unit/standstill.h"

enum { FULL = RDM_MAGAZINE_BLOCKS, BLOCKS = 5 * FULL, CLASS = 7, ROUNDS = 20000 };

static bool no_memory;
static unsigned made, refused;
void *__real_rdm_je_calloc(size_t count, size_t size);
void *__wrap_rdm_je_calloc(size_t count, size_t size);
void *__wrap_rdm_je_calloc(size_t count, size_t size)
{
	if (no_memory) {
		refused++;
		return NULL;
	}
	made += size == sizeof(struct rdm_magazine);
	return __real_rdm_je_calloc(count, size);
}

static struct rdm_depot depot;
/* Their addresses are the blocks: a depot does not look inside. */
static char memory[BLOCKS];
static void *block[BLOCKS], *taken[BLOCKS];

static int begin(void **state)
{
	(void)state;
	rdm_depot_init(&depot);
	for (size_t i = 0; i < BLOCKS; i++)
		block[i] = memory + i;
	memset(taken, 0, sizeof(taken));
	no_memory = false;
	made = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	rdm_depot_destroy(&depot);
	return 0;
}

static size_t count_of(unsigned class)
{
	return depot.shelves[class].count;
}

/* Whether these are the blocks from `from` on, each once, in any order. */
static bool are_blocks(void *const *some, size_t from, size_t count)
{
	bool seen[BLOCKS] = { false };

	for (size_t i = 0; i < count; i++) {
		size_t number = (size_t)((char *)some[i] - memory);

		if (number < from || number >= from + count || seen[number])
			return false;
		seen[number] = true;
	}
	return true;
}

static void nothing_in_it(void **state)
{
	uint64_t asked, answered;

	(void)state;
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, FULL), 0);
	assert_null(rdm_depot_take_magazine(&depot, CLASS));
	assert_null(rdm_depot_take_all(&depot, CLASS));
	assert_int_equal(rdm_depot_bytes(&depot), 0);
	rdm_depot_count(&depot, &asked, &answered);
	assert_int_equal(asked, 1);
	assert_int_equal(answered, 0);
	assert_int_equal(rdm_depot_put(&depot, CLASS, block, 0), 0);
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, FULL), 0);
}

static const size_t counts[] = { 1, FULL - 1, FULL, FULL + 1, 2 * FULL, 2 * FULL + 1, BLOCKS };
enum { COUNTS = sizeof(counts) / sizeof(counts[0]) };

static void across_magazines(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNTS; i++)
		for (size_t j = 0; j < COUNTS; j++) {
			size_t got = 0, some;

			assert_int_equal(rdm_depot_put(&depot, CLASS, block, counts[i]), counts[i]);
			assert_int_equal(count_of(CLASS), counts[i]);
			assert_int_equal(rdm_depot_bytes(&depot),
					 counts[i] * rdm_class_size(CLASS));
			while ((some = rdm_depot_take(&depot, CLASS, taken + got, counts[j]))) {
				assert_true(some == counts[j] || got + some == counts[i]);
				got += some;
				assert_int_equal(count_of(CLASS), counts[i] - got);
			}
			assert_int_equal(got, counts[i]);
			assert_true(are_blocks(taken, 0, got));
			assert_null(depot.shelves[CLASS].magazines);
		}
	/* What is empty is filled again. */
	assert_int_equal(made, BLOCKS / FULL);
}

/* What comes last goes first. */
static void last_in_first_out(void **state)
{
	(void)state;
	assert_int_equal(rdm_depot_put(&depot, CLASS, block, FULL + 20), FULL + 20);
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, 5), 5);
	assert_true(are_blocks(taken, FULL + 15, 5));
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, 25), 25);
	assert_true(are_blocks(taken, FULL - 10, 25));
}

static void whole_magazines(void **state)
{
	struct rdm_magazine *one, *full, *other;

	(void)state;
	rdm_depot_put(&depot, CLASS, block, 2 * FULL + 1);
	one = rdm_depot_take_magazine(&depot, CLASS);
	assert_int_equal(one->count, 1);
	assert_ptr_equal(one->blocks[0], block[2 * FULL]);
	assert_int_equal(count_of(CLASS), 2 * FULL);
	full = rdm_depot_take_magazine(&depot, CLASS);
	assert_int_equal(full->count, FULL);
	assert_true(are_blocks(full->blocks, FULL, FULL));
	assert_int_equal(count_of(CLASS), FULL);
	rdm_depot_put_magazine(&depot, CLASS, full);
	assert_int_equal(count_of(CLASS), 2 * FULL);
	assert_null(depot.empty);
	/* An empty one is nobody's shelf's. */
	one->count = 0;
	rdm_depot_put_magazine(&depot, CLASS, one);
	assert_int_equal(count_of(CLASS), 2 * FULL);
	assert_ptr_equal(rdm_depot_take_empty(&depot), one);
	assert_int_equal(made, 3);
	other = rdm_depot_take_empty(&depot);
	assert_non_null(other);
	assert_int_equal(made, 4);
	assert_int_equal(other->count, 0);
	rdm_meta_free(other);
	rdm_meta_free(one);
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, BLOCKS), 2 * FULL);
	assert_true(are_blocks(taken, 0, 2 * FULL));
}

static void all_of_a_class(void **state)
{
	struct rdm_magazine *list;
	size_t count = 0;

	(void)state;
	rdm_depot_put(&depot, CLASS, block, 3 * FULL - 1);
	rdm_depot_put(&depot, CLASS + 1, block + 3 * FULL, 10);
	list = rdm_depot_take_all(&depot, CLASS);
	for (const struct rdm_magazine *each = list; each; each = each->next) {
		memcpy(taken + count, each->blocks, each->count * sizeof(each->blocks[0]));
		count += each->count;
	}
	assert_int_equal(count, 3 * FULL - 1);
	assert_true(are_blocks(taken, 0, count));
	rdm_magazines_free(list);
	assert_int_equal(count_of(CLASS), 0);
	assert_null(rdm_depot_take_all(&depot, CLASS));
	assert_int_equal(rdm_depot_bytes(&depot), 10 * rdm_class_size(CLASS + 1));
	assert_int_equal(rdm_depot_take(&depot, CLASS + 1, taken, FULL), 10);
	assert_true(are_blocks(taken, 3 * FULL, 10));
}

static void asked_and_answered(void **state)
{
	struct rdm_magazine *magazine;
	uint64_t asked, answered;

	(void)state;
	rdm_depot_take(&depot, CLASS, taken, 1);
	rdm_depot_put(&depot, CLASS, block, 10);
	rdm_depot_take(&depot, CLASS, taken, 4);
	rdm_depot_take(&depot, CLASS + 1, taken, 1);
	rdm_depot_count(&depot, &asked, &answered);
	assert_int_equal(asked, 3);
	assert_int_equal(answered, 1);
	magazine = rdm_depot_take_magazine(&depot, CLASS);
	rdm_depot_count(&depot, &asked, &answered);
	assert_int_equal(asked, 4);
	assert_int_equal(answered, 2);
	/* Who gets no magazine asks for blocks next, and is counted then. */
	assert_null(rdm_depot_take_magazine(&depot, CLASS));
	rdm_depot_put_magazine(&depot, CLASS, magazine);
	rdm_magazines_free(rdm_depot_take_all(&depot, CLASS));
	rdm_depot_count(&depot, &asked, &answered);
	assert_int_equal(asked, 4);
	assert_int_equal(answered, 2);
}

static void without_memory(void **state)
{
	struct rdm_magazine *magazine;

	(void)state;
	no_memory = true;
	assert_int_equal(rdm_depot_put(&depot, CLASS, block, 1), 0);
	assert_null(rdm_depot_take_empty(&depot));
	no_memory = false;
	rdm_depot_put(&depot, CLASS, block, 200);
	magazine = rdm_depot_take_empty(&depot);
	rdm_depot_put_magazine(&depot, CLASS, magazine);
	no_memory = true;
	/* What is left of one, and all of the empty one. */
	assert_int_equal(rdm_depot_put(&depot, CLASS, block + 200, BLOCKS - 200), 2 * FULL - 200);
	assert_int_equal(rdm_depot_put(&depot, CLASS, block + 2 * FULL, 1), 0);
	assert_int_equal(count_of(CLASS), 2 * FULL);
	/* What others have emptied will do. */
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, FULL), FULL);
	assert_true(are_blocks(taken, FULL, FULL));
	assert_int_equal(rdm_depot_put(&depot, CLASS + 1, block + FULL, FULL + 1), FULL);
	no_memory = false;
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, BLOCKS), FULL);
	assert_true(are_blocks(taken, 0, FULL));
}

/* Each time is a system call, where every free comes by. */
static void asks_ever_more_rarely(void **state)
{
	struct rdm_magazine *magazine = NULL;
	unsigned tries = 0;

	(void)state;
	no_memory = true;
	refused = 0;
	for (unsigned i = 0; i < 100000; i++)
		assert_null(rdm_depot_take_empty(&depot));
	assert_in_range(refused, 2, 100);
	no_memory = false;
	while (!magazine && tries++ < 2 * RDM_PATIENCE_MAX)
		magazine = rdm_depot_take_empty(&depot);
	assert_non_null(magazine);
	rdm_depot_put_magazine(&depot, CLASS, magazine);
	magazine = rdm_depot_take_empty(&depot);
	assert_non_null(magazine);
	rdm_depot_put_magazine(&depot, CLASS, magazine);
}

/* Lets the depot look at the class next, and time pass for it. */
static size_t look(unsigned class, size_t most)
{
	unsigned found = 0;
	size_t weeded;

	pass_ms(2);
	depot.hand = class - 1;
	weeded = rdm_depot_weed(&depot, &found, taken, most);
	assert_true(!weeded || found == class);
	return weeded;
}

static void what_is_idle_goes(void **state)
{
	uint64_t asked, answered;

	(void)state;
	rdm_depot_put(&depot, CLASS, block, 100);
	assert_int_equal(look(CLASS, FULL), 0);
	/* 70 are there all the time. */
	assert_int_equal(rdm_depot_take(&depot, CLASS, taken, 30), 30);
	rdm_depot_put(&depot, CLASS, taken, 30);
	assert_int_equal(look(CLASS, FULL), 70);
	assert_int_equal(count_of(CLASS), 30);
	/* More have come, and were wanted as little. */
	rdm_depot_put(&depot, CLASS, taken, 70);
	assert_int_equal(look(CLASS, 20), 20);
	assert_int_equal(count_of(CLASS), 80);
	assert_int_equal(look(CLASS, FULL), 80);
	assert_int_equal(look(CLASS, FULL), 0);
	rdm_depot_count(&depot, &asked, &answered);
	assert_int_equal(asked, 1);
	assert_int_equal(answered, 1);
	/* Whole magazines are wanted, too. */
	rdm_depot_put(&depot, CLASS, block, FULL + 10);
	assert_int_equal(look(CLASS, FULL), 0);
	rdm_depot_put_magazine(&depot, CLASS, rdm_depot_take_magazine(&depot, CLASS));
	rdm_depot_put(&depot, CLASS, block + FULL + 10, 50);
	assert_int_equal(look(CLASS, BLOCKS), FULL);
	assert_int_equal(count_of(CLASS), 60);
	/* What is new since all was taken was not there at the look before. */
	rdm_magazines_free(rdm_depot_take_all(&depot, CLASS));
	rdm_depot_put(&depot, CLASS, block, 40);
	assert_int_equal(look(CLASS, FULL), 0);
	assert_int_equal(look(CLASS, FULL), 40);
}

static void not_too_often(void **state)
{
	unsigned class = 0, hand = depot.hand;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		pass_ms(2);
		assert_int_equal(rdm_depot_weed(&depot, &class, taken, FULL), 0);
		assert_int_not_equal(depot.hand, hand);
		hand = depot.hand;
		assert_int_equal(rdm_depot_weed(&depot, &class, taken, FULL), 0);
		pass_ms(1);
		assert_int_equal(rdm_depot_weed(&depot, &class, taken, FULL), 0);
		assert_int_equal(depot.hand, hand);
	}
}

/* Each class has its turn, the last ones and the first ones, too. */
static void each_class_has_its_turn(void **state)
{
	bool weeded[RDM_CLASS_MAX + 1] = { false };
	unsigned class, looks = 0;
	size_t left = RDM_CLASS_MAX;

	(void)state;
	for (class = 1; class <= RDM_CLASS_MAX; class ++)
		assert_int_equal(rdm_depot_put(&depot, class, block + class, 1), 1);
	while (left && ++looks < 4 * RDM_CLASS_MAX) {
		pass_ms(2);
		if (!rdm_depot_weed(&depot, &class, taken, FULL))
			continue;
		assert_false(weeded[class]);
		assert_ptr_equal(taken[0], block[class]);
		weeded[class] = true;
		left--;
	}
	assert_int_equal(left, 0);
	assert_int_equal(rdm_depot_bytes(&depot), 0);
}

/* Where each block is: a class's shelf, or with the test. */
static unsigned where[BLOCKS];
static size_t held;
static void *mine[BLOCKS];
static struct t_rng rng;

static void move_in(unsigned class, size_t count)
{
	assert_true(count <= held);
	assert_int_equal(rdm_depot_put(&depot, class, mine + held - count, count), count);
	for (size_t i = held - count; i < held; i++)
		where[(char *)mine[i] - memory] = class;
	held -= count;
}

static void move_out(unsigned class, void *const *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t number = (size_t)((char *)blocks[i] - memory);

		assert_true(number < BLOCKS);
		assert_int_equal(where[number], class);
		where[number] = 0;
		mine[held++] = blocks[i];
	}
}

static void move_some(unsigned class)
{
	struct rdm_magazine *magazine = NULL;
	size_t before = count_of(class), count, most = 1 + t_below(&rng, 2 * FULL);

	switch (t_below(&rng, 5)) {
	case 0:
		count = rdm_depot_take(&depot, class, taken, most);
		assert_int_equal(count, before < most ? before : most);
		move_out(class, taken, count);
		break;
	case 1:
		magazine = rdm_depot_take_magazine(&depot, class);
		assert_int_equal(magazine != NULL, before != 0);
		if (!magazine)
			break;
		assert_true(magazine->count && magazine->count <= FULL);
		move_out(class, magazine->blocks, magazine->count);
		if (!t_below(&rng, 2))
			magazine->count = 0;
		held -= magazine->count;
		for (size_t i = 0; i < magazine->count; i++)
			where[(char *)magazine->blocks[i] - memory] = class;
		rdm_depot_put_magazine(&depot, class, magazine);
		break;
	case 2:
		pass_ms(2);
		count = rdm_depot_weed(&depot, &class, taken, most);
		move_out(class, taken, count);
		break;
	default:
		move_in(class, t_below(&rng, (held < most ? held : most) + 1));
	}
}

static void against_a_model(void **state)
{
	(void)state;
	rng.state = t_seed();
	held = BLOCKS;
	memset(where, 0, sizeof(where));
	memcpy(mine, block, sizeof(mine));
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t on_shelves = 0, bytes = 0;

		move_some(1 + (unsigned)t_below(&rng, 4));
		for (unsigned class = 1; class <= 4; class ++) {
			size_t count = 0;

			for (const struct rdm_magazine *each = depot.shelves[class].magazines; each;
			     each = each->next)
				count += each->count;
			assert_int_equal(count, count_of(class));
			assert_true(depot.shelves[class].idle <= count);
			on_shelves += count;
			bytes += count * rdm_class_size(class);
		}
		assert_int_equal(on_shelves + held, BLOCKS);
		assert_int_equal(bytes, rdm_depot_bytes(&depot));
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_in_it),           CASE(across_magazines),
		CASE(last_in_first_out),       CASE(whole_magazines),
		CASE(all_of_a_class),          CASE(asked_and_answered),
		CASE(without_memory),          CASE(what_is_idle_goes),
		CASE(not_too_often),           CASE(asks_ever_more_rarely),
		CASE(each_class_has_its_turn), CASE(against_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
