/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A set asks for slabs once when a carve leaves less than its watermark, again after any change,
 * and not at all while none can be made; of two sets the one that has waited longer is first.
 */
#include "support.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/create.h"
#include "fork/fork.h"
#include "memory/state.h"
#include "slab/slab.h"
#include "slab/watermark.h"
#include "sync/quiesce.h"
#include "sync/workers.h"

enum { PAGES = 100, MARK = 20 };

static unsigned woken;
void __wrap_rdm_background_wake(void);
void __wrap_rdm_background_wake(void)
{
	woken++;
}

static size_t page(void)
{
	return (size_t)1 << rdm_state.page_shift;
}

/* Of such sets only the numbers matter. */
static struct rdm_slab_set set, other;

static void begin_set(struct rdm_slab_set *one)
{
	memset(one, 0, sizeof(*one));
	one->ops = &rdm_registered_ops;
	rdm_slabs_init(one, NULL, NULL);
	one->bytes = PAGES * page();
	one->watermark.bytes = MARK * page();
}

static int begin(void **state)
{
	(void)state;
	begin_set(&set);
	begin_set(&other);
	return 0;
}

static void end_set(struct rdm_slab_set *one)
{
	one->bytes = one->carved_pages = 0;
	rdm_slabs_destroy(one);
}

static int end(void **state)
{
	(void)state;
	end_set(&set);
	end_set(&other);
	return 0;
}

/* Carves all but so many pages; whether that asks. */
static bool leave(struct rdm_slab_set *one, size_t pages)
{
	bool crossed;

	one->carved_pages = PAGES - pages;
	rdm_slabs_lock(one);
	crossed = rdm_watermark_crossed(one);
	rdm_slabs_unlock(one);
	return crossed;
}

static void put_into(struct rdm_slab_set *one, enum rdm_watermark_state state)
{
	rdm_watermark_renew(one);
	if (state == RDM_WATERMARK_READY)
		return;
	if (state == RDM_WATERMARK_STUCK) {
		rdm_watermark_made(one, false);
	} else if (state == RDM_WATERMARK_ASKED) {
		assert_true(leave(one, MARK - 1));
	} else {
		one->carved_pages = PAGES - MARK + 1;
		rdm_watermark_made(one, true);
	}
	assert_int_equal(one->watermark.state, state);
}

static void asks_once(void **state)
{
	(void)state;
	assert_false(leave(&set, PAGES));
	assert_false(leave(&set, MARK));
	assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
	assert_int_equal(rdm_watermark_turn(&set), 0);
	assert_true(leave(&set, MARK - 1));
	assert_int_equal(set.watermark.state, RDM_WATERMARK_ASKED);
	assert_int_equal(set.watermark.node, rdm_workers_node());
	assert_true(rdm_watermark_turn(&set) > 0);
	assert_false(leave(&set, MARK - 1));
	assert_false(leave(&set, 0));
	/* What comes back by itself answers nothing. */
	assert_false(leave(&set, PAGES));
	assert_int_equal(set.watermark.state, RDM_WATERMARK_ASKED);
	rdm_watermark_renew(&set);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
	assert_false(leave(&set, PAGES));
	assert_true(leave(&set, 0));
}

static void no_watermark(void **state)
{
	(void)state;
	set.watermark.bytes = 0;
	assert_false(leave(&set, 0));
	rdm_watermark_missed(&set);
	assert_false(set.watermark.whole);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
}

static void who_waits(void **state)
{
	static const struct {
		enum rdm_watermark_state state;
		bool has_turn, is_new;
	} rows[] = {
		{ RDM_WATERMARK_READY, false, false },
		{ RDM_WATERMARK_ASKED, true, true },
		{ RDM_WATERMARK_MORE, true, false },
		{ RDM_WATERMARK_STUCK, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_into(&set, rows[i].state);
		assert_int_equal(rdm_watermark_turn(&set) != 0, rows[i].has_turn);
		assert_int_equal(rdm_watermark_is_new(&set), rows[i].is_new);
		assert_int_equal(leave(&set, 0), rows[i].state == RDM_WATERMARK_READY);
		put_into(&set, rows[i].state);
		rdm_watermark_renew(&set);
		assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
	}
}

static void answers(void **state)
{
	(void)state;
	for (unsigned from = RDM_WATERMARK_READY; from <= RDM_WATERMARK_STUCK; from++)
		for (size_t more = 0; more < 3; more++) {
			put_into(&set, from);
			set.carved_pages = PAGES - (MARK + more) + 1;
			assert_false(rdm_watermark_answered(&set, more * page()));
			assert_int_equal(set.watermark.state, from);
			set.carved_pages--;
			assert_true(rdm_watermark_answered(&set, more * page()));
			assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
		}
	/* More than can ever be there. */
	put_into(&set, RDM_WATERMARK_ASKED);
	set.carved_pages = 0;
	assert_false(rdm_watermark_answered(&set, SIZE_MAX));
	assert_int_equal(set.watermark.state, RDM_WATERMARK_ASKED);
}

static void slabs_are_made(void **state)
{
	uint64_t turn;

	(void)state;
	for (unsigned from = RDM_WATERMARK_READY; from <= RDM_WATERMARK_STUCK; from++) {
		put_into(&set, from);
		rdm_watermark_made(&set, false);
		assert_int_equal(set.watermark.state, RDM_WATERMARK_STUCK);
		assert_false(leave(&set, 0));
	}
	/* One was enough. */
	put_into(&set, RDM_WATERMARK_READY);
	set.carved_pages = PAGES - MARK;
	rdm_watermark_made(&set, true);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
	/* It was not. */
	set.carved_pages++;
	rdm_watermark_made(&set, true);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_MORE);
	/* A carve has asked since. */
	put_into(&set, RDM_WATERMARK_ASKED);
	turn = rdm_watermark_turn(&set);
	rdm_watermark_made(&set, true);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_ASKED);
	assert_int_equal(rdm_watermark_turn(&set), turn);
	/* Whatever failed since is over only when something changes. */
	put_into(&set, RDM_WATERMARK_STUCK);
	rdm_watermark_made(&set, true);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_STUCK);
}

static void in_turn(void **state)
{
	uint64_t turn;

	(void)state;
	assert_true(leave(&set, 0));
	assert_true(leave(&other, 0));
	turn = rdm_watermark_turn(&set);
	assert_true(turn && turn < rdm_watermark_turn(&other));
	assert_int_equal(rdm_watermark_turn(&set), turn);
	/* Who has got one goes to the end. */
	rdm_watermark_renew(&set);
	rdm_watermark_made(&set, true);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_MORE);
	assert_true(rdm_watermark_turn(&set) > rdm_watermark_turn(&other));
	rdm_watermark_renew(&other);
	assert_true(leave(&other, 0));
	assert_true(rdm_watermark_turn(&set) < rdm_watermark_turn(&other));
	/* Who cannot have any is on nobody's way. */
	rdm_watermark_made(&set, false);
	assert_int_equal(rdm_watermark_turn(&set), 0);
	assert_true(rdm_watermark_turn(&other) > 0);
}

static void of_no_use(void **state)
{
	(void)state;
	/* There was too little anyway. */
	set.carved_pages = PAGES - MARK + 1;
	rdm_watermark_missed(&set);
	assert_false(set.watermark.whole);
	set.carved_pages--;
	set.watermark.idle = (MARK + 1) * page();
	rdm_watermark_missed(&set);
	assert_true(set.watermark.whole);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
	/* From now on only whole slabs count, however much is left of others. */
	assert_false(leave(&set, MARK));
	assert_false(rdm_watermark_answered(&set, 2 * page()));
	assert_true(rdm_watermark_answered(&set, page()));
	set.watermark.idle = (MARK - 1) * page();
	assert_false(rdm_watermark_answered(&set, 0));
	assert_true(leave(&set, PAGES));
	rdm_watermark_renew(&set);
	rdm_watermark_made(&set, true);
	assert_int_equal(set.watermark.state, RDM_WATERMARK_MORE);
	assert_true(set.watermark.whole);
}

static void carve(size_t bytes, unsigned wakes)
{
	unsigned before = woken;

	assert_non_null(rdm_slabs_carve(&set, NULL, bytes, 1));
	assert_int_equal(woken - before, wakes);
}

static void expect_idle(void)
{
	const struct rdm_slab *slab;
	size_t idle = 0;

	TAILQ_FOREACH (slab, &set.slabs, link)
		idle += slab->free_pages == slab->pages ? slab->length : 0;
	assert_int_equal(set.watermark.idle, idle);
}

static void end_slabs(void)
{
	rdm_slabs_uncarve_all(&set);
	assert_false(set.watermark.whole);
	expect_idle();
	assert_int_equal(rdm_slabs_trim(&set, 0), 0);
	assert_int_equal(set.watermark.idle, 0);
	assert_int_equal(set.bytes, 0);
}

static void begin_slabs(unsigned count)
{
	set.kind.pages = RDM_PAGES_BASE;
	set.kind.node = -1;
	set.ops = &rdm_registered_ops;
	set.bytes = 0;
	set.watermark.bytes = T_MIB;
	while (count--)
		assert_int_equal(rdm_slabs_add(&set, T_SLAB, T_SLAB), 0);
	expect_idle();
}

static void carves_ask(void **state)
{
	char *last;

	(void)state;
	begin_slabs(1);
	carve(T_MIB, 0);
	carve(page(), 1);
	carve(page(), 0);
	last = rdm_slabs_carve(&set, NULL, page(), 1);
	assert_non_null(last);
	rdm_watermark_renew(&set);
	/* Nor does one that finds nothing ask, nor one that only looks. */
	assert_null(rdm_slabs_carve(&set, NULL, T_SLAB, 1));
	assert_true(rdm_slabs_can_carve(&set, page(), 1));
	assert_int_equal(set.watermark.state, RDM_WATERMARK_READY);
	/* One that goes on does. */
	assert_ptr_equal(rdm_slabs_carve(&set, last + page(), page(), 1), last + page());
	assert_int_equal(set.watermark.state, RDM_WATERMARK_ASKED);
	/* A slab more. */
	assert_int_equal(rdm_slabs_add(&set, T_SLAB, T_SLAB), 0);
	assert_true(rdm_watermark_answered(&set, T_MIB));
	carve(page(), 0);
	end_slabs();
}

static void whole_slabs(void **state)
{
	struct rdm_slab *slab;

	(void)state;
	begin_slabs(3);
	TAILQ_FOREACH (slab, &set.slabs, link) {
		carve(T_SLAB - page(), slab == TAILQ_LAST(&set.slabs, rdm_slab_list));
		expect_idle();
	}
	rdm_watermark_renew(&set);
	TAILQ_FOREACH (slab, &set.slabs, link)
		rdm_slabs_uncarve(&(struct rdm_run){ slab->base, T_SLAB - page() }, 1);
	expect_idle();
	assert_int_equal(set.watermark.idle, 3 * T_SLAB);
	carve(page(), 0);
	expect_idle();
	assert_int_equal(set.watermark.idle, 2 * T_SLAB);
	rdm_watermark_missed(&set);
	assert_true(set.watermark.whole);
	carve(T_SLAB, 0);
	carve(T_SLAB, 1);
	expect_idle();
	end_slabs();
}

static int open_slabs(void **state)
{
	(void)state;
	/* No memory for slabs that nobody writes to. */
	setenv("RDMALLOC_ABLATE", "write", 1);
	rdm_fork_init();
	T_CHECK(rdm_quiesce_enter("watermark"));
	return rdm_slabs_open_reserve(false);
}

static int close_slabs(void **state)
{
	(void)state;
	return rdm_quiesce_leave(0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(asks_once), CASE(no_watermark),   CASE(who_waits),
		CASE(answers),   CASE(slabs_are_made), CASE(in_turn),
		CASE(of_no_use), CASE(carves_ask),     CASE(whole_slabs),
	};

	return cmocka_run_group_tests(tests, open_slabs, close_slabs);
}
