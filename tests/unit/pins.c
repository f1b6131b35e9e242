/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins against a plain count for each page: of ranges that overlap, cross slabs and holes, and
 * stick out of the reserve. A page is out of the fork while it has a count, and is not discarded;
 * what fails leaves no page behind; a fork spares stacks, and takes out what strangers may have
 * pinned.
 */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/reserve.h"
#include "memory/state.h"
#include "plain/kernel_copies.h"
#include "plain/pins.h"
#include "plain/stacks.h"
#include "plain/plain.h"
#include "slab/slab.h"
#include "sync/gate.h"
#include "sync/quiesce.h"
#include "unit/standstill.h"

enum { SLABS = 3, PINS = 300, ROUNDS = 1500, HANDLES = 9000 };
/* Two slabs, a hole of one more, and a slab as long as two. */
#define LENGTH (6 * T_SLAB)
/* How far before and behind ranges may reach. */
#define MARGIN (2 * T_SLAB)

static bool no_memory;
void *__real_rdm_je_calloc(size_t count, size_t size);
void *__wrap_rdm_je_calloc(size_t count, size_t size);
void *__wrap_rdm_je_calloc(size_t count, size_t size)
{
	return no_memory ? NULL : __real_rdm_je_calloc(count, size);
}

/* Pages that the kernel says are pinned, if it says so. */
static size_t pinned;
static bool unreadable;
bool __wrap_rdm_vmpin_read(size_t *pages_);
bool __wrap_rdm_vmpin_read(size_t *pages_)
{
	*pages_ = pinned;
	return !unreadable;
}

/* What is found out when it is asked, and whether it was. */
static enum rdm_kernel_copies answer, known;
enum rdm_kernel_copies __wrap_rdm_kernel_copies_known(void);
enum rdm_kernel_copies __wrap_rdm_kernel_copies_known(void)
{
	return known;
}
enum rdm_kernel_copies __wrap_rdm_kernel_copies_ask(void);
enum rdm_kernel_copies __wrap_rdm_kernel_copies_ask(void)
{
	known = answer;
	return known;
}

static struct rdm_pool *pool;
static struct rdm_slab *slab[SLABS];
static char *base;
static size_t pages, page_bytes;
/* Of each page from base on: in a slab, its pins as they should be, out of the fork. */
static bool inside[LENGTH / 4096], out[LENGTH / 4096];
static unsigned count[LENGTH / 4096];

static void advised(const char *addr, size_t length, bool value)
{
	if (addr < base || addr >= base + LENGTH)
		return;
	for (size_t i = 0; i < length; i += page_bytes)
		out[(size_t)(addr - base + i) / page_bytes] = value;
}

/* The call of madvise(advice) that fails, from now on, when half is done; 0: none. */
static unsigned fails;
static int failing;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long arg[6];
	bool fail;
	va_list list;

	va_start(list, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	if (number != SYS_madvise || (arg[2] != MADV_DONTFORK && arg[2] != MADV_DOFORK))
		return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	fail = fails && arg[2] == failing && !--fails;
	if (fail)
		arg[1] = arg[1] / 2 & -(long)page_bytes;
	if (arg[1] && __real_syscall(number, arg[0], arg[1], arg[2]))
		return -1;
	advised((char *)(uintptr_t)arg[0], (size_t)arg[1], arg[2] == MADV_DONTFORK);
	errno = fail ? ENOMEM : errno;
	return fail ? -1 : 0;
}

static char *at_page(size_t page)
{
	return base + page * page_bytes;
}

static void add_slabs(void)
{
	struct rdm_slab_set *set = &pool->slabs;
	struct rdm_slab *each;
	unsigned n = 0;
	void *run[2];

	T_CHECK(rdm_quiesce_enter("pins"));
	for (unsigned i = 0; i < 3; i++)
		T_CHECK(!rdm_slabs_add(set, T_SLAB, T_SLAB));
	T_CHECK(!rdm_slabs_add(set, 2 * T_SLAB, T_SLAB));
	/* All but the third. */
	for (unsigned i = 0; i < 2; i++)
		T_CHECK((run[i] = rdm_slabs_carve(set, NULL, T_SLAB, 1)));
	each = TAILQ_NEXT(TAILQ_NEXT(TAILQ_FIRST(&set->slabs), link), link);
	T_CHECK(rdm_slabs_carve(set, NULL, 2 * T_SLAB, 1));
	T_CHECK(each->free_pages == each->pages && !rdm_slabs_trim(set, 0));
	rdm_slabs_uncarve_all(set);
	TAILQ_FOREACH (each, &set->slabs, link)
		slab[n++] = each;
	T_CHECK(n == SLABS && run[1] == slab[1]->base);
	T_CHECK(!rdm_quiesce_leave(0));
}

static int begin(void **state)
{
	(void)state;
	add_slabs();
	base = slab[0]->base;
	page_bytes = t_page();
	pages = LENGTH / page_bytes;
	memset(inside, 0, sizeof(inside));
	memset(count, 0, sizeof(count));
	memset(out, 0, sizeof(out));
	for (unsigned i = 0; i < SLABS; i++)
		for (size_t p = 0; p < slab[i]->pages; p++)
			inside[(size_t)(slab[i]->base - base) / page_bytes + p] = true;
	no_memory = false;
	pinned = 0;
	unreadable = false;
	answer = known = RDM_COPIES_UNKNOWN;
	fails = 0;
	now.tv_sec += 10;
	return 0;
}

static int end(void **state)
{
	struct rdm_slab *each;

	(void)state;
	T_CHECK(rdm_quiesce_enter("pins"));
	/* What a case has left for ever, and what one that failed has not dropped. */
	TAILQ_FOREACH (each, &pool->slabs.slabs, link)
		if (each->pins)
			memset(each->pins, 0, each->pages * sizeof(uint16_t));
	pinned = 0;
	T_CHECK(!rdm_slabs_trim(&pool->slabs, 0) && !pool->slabs.bytes);
	T_CHECK(!rdm_quiesce_leave(0));
	return 0;
}

/* Each page that the range touches. */
static void model(char *addr, size_t length, int change)
{
	for (size_t p = 0; p < pages; p++)
		if (inside[p] && addr < at_page(p + 1) && at_page(p) < addr + length)
			count[p] += (unsigned)change;
}

static unsigned count_of(size_t page)
{
	for (unsigned i = 0; i < SLABS; i++)
		if (at_page(page) >= slab[i]->base &&
		    at_page(page) < slab[i]->base + slab[i]->length)
			return slab[i]->pins ?
				       slab[i]->pins[(size_t)(at_page(page) - slab[i]->base) /
						     page_bytes] :
				       0;
	return 0;
}

static void expect_counts(void)
{
	for (size_t p = 0; p < pages; p++) {
		assert_int_equal(count_of(p), count[p]);
		assert_int_equal(out[p], count[p] != 0);
	}
}

static void add(char *addr, size_t length)
{
	assert_int_equal(rdm_pins_add_range(addr, length), 0);
	model(addr, length, 1);
}

static void drop(char *addr, size_t length)
{
	rdm_pins_drop_range(addr, length);
	model(addr, length, -1);
}

static size_t pages_now(void)
{
	struct rdm_pin_counts counts;

	rdm_pins_count(&counts);
	assert_int_equal(rdm_pins_exist(), counts.pages != 0);
	return counts.pages;
}

/* Until the last pin of a page ends, it stays. */
static void overlapping(void **state)
{
	(void)state;
	assert_int_equal(pages_now(), 0);
	add(at_page(10), 10 * page_bytes);
	assert_int_equal(pages_now(), 10);
	add(at_page(15), 10 * page_bytes);
	add(at_page(15) + 1, 1);
	assert_int_equal(pages_now(), 21);
	expect_counts();
	assert_int_equal(count_of(15), 3);
	drop(at_page(10), 10 * page_bytes);
	expect_counts();
	assert_false(rdm_pins_any(at_page(10), 5 * page_bytes));
	assert_true(rdm_pins_any(at_page(10), 5 * page_bytes + 1));
	drop(at_page(15), 10 * page_bytes);
	expect_counts();
	assert_int_equal(count_of(15), 1);
	drop(at_page(15) + 1, 1);
	expect_counts();
	assert_false(rdm_pins_any(base, LENGTH));
	assert_int_equal(pages_now(), 0);
}

/* A byte on either side of a page's end, two slabs, the hole, and all of the reserve. */
static void across(void **state)
{
	char *reserve = (char *)rdm_reserve.base;
	struct rdm_pin_counts before, after;

	(void)state;
	add(at_page(4) - 1, 2);
	assert_int_equal(count_of(3), 1);
	assert_int_equal(count_of(4), 1);
	assert_int_equal(count_of(5), 0);
	add(slab[1]->base - 1, 2);
	add(slab[1]->base + 5, 3 * T_SLAB);
	expect_counts();
	rdm_pins_count(&before);
	add(reserve - page_bytes, rdm_reserve_size() + 2 * page_bytes);
	expect_counts();
	rdm_pins_count(&after);
	assert_int_equal(after.inside, before.inside + 1);
	assert_int_equal(after.pages - before.pages, rdm_reserve_size() / page_bytes + 2);
	add(reserve - page_bytes, page_bytes);
	add(reserve + rdm_reserve_size(), page_bytes);
	rdm_pins_count(&before);
	assert_int_equal(before.inside, after.inside);
	assert_int_equal(before.outside, after.outside + 2);
	assert_int_equal(before.outside_bytes, after.outside_bytes + 2 * page_bytes);
	drop(reserve + rdm_reserve_size(), page_bytes);
	drop(reserve - page_bytes, page_bytes);
	drop(reserve - page_bytes, rdm_reserve_size() + 2 * page_bytes);
	expect_counts();
	drop(slab[1]->base + 5, 3 * T_SLAB);
	drop(slab[1]->base - 1, 2);
	drop(at_page(4) - 1, 2);
	expect_counts();
	assert_int_equal(pages_now(), 0);
}

/* The registrations have names, of which each bucket has several. */
static void names(void **state)
{
	static struct rdm_pin *pin[HANDLES];
	static char handle[HANDLES * 16];

	(void)state;
	assert_null(rdm_pins_take(handle));
	for (size_t i = 0; i < HANDLES; i++) {
		pin[i] = rdm_pins_add(at_page(i % 100), page_bytes);
		assert_non_null(pin[i]);
		model(at_page(i % 100), page_bytes, 1);
		rdm_pins_name(pin[i], handle + 16 * i);
	}
	expect_counts();
	assert_int_equal(pages_now(), HANDLES);
	for (size_t i = 0; i < HANDLES; i++) {
		/* Any order without the same twice. */
		size_t n = i * 7 % HANDLES;

		assert_ptr_equal(rdm_pins_take(handle + 16 * n), pin[n]);
		assert_null(rdm_pins_take(handle + 16 * n));
		rdm_pins_drop(pin[n]);
		model(at_page(n % 100), page_bytes, -1);
	}
	expect_counts();
	/* One that never was registered, and memory that is none of ours. */
	pin[0] = rdm_pins_add(handle, sizeof(handle));
	assert_non_null(pin[0]);
	assert_true(pages_now() >= sizeof(handle) / page_bytes);
	rdm_pins_drop(pin[0]);
	assert_int_equal(pages_now(), 0);
}

static void fails_to_add(char *addr, size_t length)
{
	size_t before = pages_now();

	errno = 0;
	assert_null(rdm_pins_add(addr, length));
	assert_int_equal(errno, ENOMEM);
	errno = 0;
	assert_int_equal(pages_now(), before);
	expect_counts();
}

static void nothing_is_left_behind(void **state)
{
	(void)state;
	/* The first slab has counts, the second cannot have any. */
	add(at_page(3), 10 * page_bytes);
	no_memory = true;
	fails_to_add(at_page(0), page_bytes);
	no_memory = false;
	expect_counts();
	/* The kernel cannot split its mappings, having marked some. */
	failing = MADV_DONTFORK;
	for (unsigned i = 1; i <= SLABS; i++) {
		fails = i;
		fails_to_add(base + 1, LENGTH - 1);
		assert_int_equal(fails, 0);
	}
	add(base, LENGTH);
	drop(base, LENGTH);
	drop(at_page(3), 10 * page_bytes);
	expect_counts();
}

/* Children do not inherit what could not be put in again, so that it must stay pinned. */
static void cannot_be_put_in(void **state)
{
	size_t page = slab[2]->base - base;

	(void)state;
	page /= page_bytes;
	add(at_page(page), 10 * page_bytes);
	failing = MADV_DOFORK;
	fails = 1;
	rdm_pins_drop_range(at_page(page), 10 * page_bytes);
	assert_int_equal(fails, 0);
	for (size_t p = page; p < page + 10; p++)
		assert_int_equal(count_of(p), UINT16_MAX);
}

/* More than can be counted stay for ever. */
static void too_many(void **state)
{
	(void)state;
	for (unsigned i = 0; i < UINT16_MAX + 3U; i++)
		assert_int_equal(rdm_pins_add_range(at_page(7), 1), 0);
	add(at_page(6), 3 * page_bytes);
	count[7] = UINT16_MAX;
	expect_counts();
	for (unsigned i = 0; i < UINT16_MAX + 3U; i++)
		rdm_pins_drop_range(at_page(7), 1);
	drop(at_page(6), 3 * page_bytes);
	count[7] = UINT16_MAX;
	expect_counts();
	assert_int_equal(pages_now(), 0);
	assert_true(rdm_pins_any(base, LENGTH));
}

static void expect_next(char *from, char *to, char *run, size_t length)
{
	char *found = NULL;
	size_t long_ = 0;

	if (!rdm_pins_next(slab[0], from, to, &found, &long_)) {
		assert_int_equal(length, 0);
		return;
	}
	assert_ptr_equal(found, run);
	assert_int_equal(long_, length);
}

static void runs(void **state)
{
	char *start = at_page(10), *stop = at_page(20), *last = at_page(slab[0]->pages);

	(void)state;
	expect_next(base, last, NULL, 0);
	add(start, 10 * page_bytes);
	add(last - 1, 1);
	expect_next(base, last, start, 10 * page_bytes);
	expect_next(base, start, NULL, 0);
	expect_next(base, start + 1, start, 1);
	expect_next(start + 5, last, start + 5, 10 * page_bytes - 5);
	expect_next(start + 5, start + 7, start + 5, 2);
	expect_next(stop - 1, stop + 1, stop - 1, 1);
	expect_next(stop, last, last - page_bytes, page_bytes);
	expect_next(stop, last - page_bytes, NULL, 0);
	expect_next(last - 1, last, last - 1, 1);
	expect_next(start, start, NULL, 0);
	drop(last - 1, 1);
	drop(start, 10 * page_bytes);
}

/* Pages of a run that are pinned keep what is in them. */
static void discards(size_t length)
{
	size_t n = length / page_bytes;

	memset(base, 'x', length);
	add(at_page(2), page_bytes);
	add(at_page(n - 1), page_bytes);
	assert_false(rdm_pins_discard(at_page(1), length - page_bytes));
	for (size_t p = 0; p < n; p++)
		assert_true(t_is_byte(at_page(p), page_bytes, !p || count[p] ? 'x' : 0));
	memset(base, 'y', length);
	drop(at_page(2), page_bytes);
	drop(at_page(n - 1), page_bytes);
	assert_true(rdm_pins_discard(base, length));
	assert_true(t_is_byte(base, length, 0));
	memset(base, 'z', 3 * page_bytes);
	add(base, 3 * page_bytes);
	assert_false(rdm_pins_discard(at_page(1), page_bytes));
	assert_true(t_is_byte(base, 3 * page_bytes, 'z'));
	drop(base, 3 * page_bytes);
}

static void discarded_or_not(void **state)
{
	(void)state;
	discards(8 * page_bytes);
	/* Long ones are mapped anew. */
	discards(slab[0]->length);
}

static void slabs_stay(void **state)
{
	(void)state;
	add(slab[1]->base + 5, 1);
	T_CHECK(rdm_quiesce_enter("pins"));
	assert_int_equal(pool->slabs.ops->pinned_bytes(slab[1]), page_bytes);
	assert_int_equal(rdm_slabs_trim(&pool->slabs, 0), 0);
	assert_ptr_equal(TAILQ_FIRST(&pool->slabs.slabs), slab[1]);
	assert_int_equal(pool->slabs.bytes, T_SLAB);
	T_CHECK(!rdm_quiesce_leave(0));
	rdm_pins_drop_range(slab[1]->base + 5, 1);
}

/* Which pages should be out while fork() runs. */
static void prefork_at(const char *stack)
{
	T_CHECK(rdm_pins_try_for_fork());
	rdm_pins_prefork(stack, true);
	rdm_pins_prefork_set(&pool->slabs);
}

static void prefork(void)
{
	prefork_at(NULL);
}

static void postfork(void)
{
	rdm_pins_postfork_parent_set(&pool->slabs);
	rdm_pins_unlock_for_fork();
	expect_counts();
}

static void expect_out(bool all)
{
	char *run;
	size_t length;

	for (unsigned i = 0; i < SLABS; i++)
		if (all) {
			assert_true(rdm_pins_next(slab[i], slab[i]->base,
						  slab[i]->base + slab[i]->length, &run, &length));
			assert_ptr_equal(run, slab[i]->base);
			assert_int_equal(length, slab[i]->length);
		}
	for (size_t p = 0; p < pages; p++)
		assert_int_equal(out[p], inside[p] && (all || count[p]));
}

static bool are_unseen(void)
{
	bool unseen;

	T_CHECK(rdm_gate_enter());
	unseen = rdm_pins_unseen();
	rdm_gate_leave();
	return unseen;
}

static void pinned_by_strangers(void **state)
{
	struct rdm_pin_counts counts;
	size_t unseen;

	(void)state;
	rdm_pins_count(&counts);
	unseen = counts.unseen;
	add(at_page(20), 10 * page_bytes);
	pinned = 10;
	assert_false(are_unseen());
	prefork();
	expect_out(false);
	postfork();
	pinned = 11;
	assert_true(are_unseen());
	prefork();
	expect_out(true);
	postfork();
	rdm_pins_count(&counts);
	assert_int_equal(counts.unseen, unseen + 1);
	/* What has just ended is no stranger's, for a while. */
	pinned = 10;
	drop(at_page(20), 10 * page_bytes);
	prefork();
	expect_out(false);
	postfork();
	now.tv_nsec = 199 * 1000000;
	prefork();
	expect_out(false);
	postfork();
	now.tv_nsec = 200 * 1000000;
	prefork();
	expect_out(true);
	postfork();
	now.tv_nsec = 0;
	pinned = 0;
}

/* Where the kernel copies for the child what is pinned, that is left to it. */
static void left_to_the_kernel(void **state)
{
	static const enum rdm_kernel_copies answers[] = { RDM_COPIES_NO, RDM_COPIES_UNKNOWN,
							  RDM_COPIES_YES };

	(void)state;
	add(at_page(20), 10 * page_bytes);
	pinned = 11;
	for (unsigned i = 0; i < 3; i++) {
		known = RDM_COPIES_UNKNOWN;
		answer = answers[i];
		prefork();
		assert_int_equal(known, answer);
		expect_out(answer != RDM_COPIES_YES);
		postfork();
	}
	drop(at_page(20), 10 * page_bytes);
}

/* What nobody can count is no zero. */
static void cannot_be_counted(void **state)
{
	(void)state;
	assert_false(are_unseen());
	unreadable = true;
	assert_true(are_unseen());
	prefork();
	expect_out(true);
	postfork();
	unreadable = false;
	assert_false(are_unseen());
}

/* Pins are known wherever they lie, and a part of a range may end before the rest. */
static void anywhere(void **state)
{
	static char global[3 * 65536];
	char *first = (char *)((uintptr_t)(global + page_bytes) & -page_bytes);

	(void)state;
	assert_int_equal(rdm_pins_add_range(first, 1), 0);
	pinned = 1;
	assert_false(are_unseen());
	assert_int_equal(rdm_pins_add_range(first - 1, page_bytes + 2), 0);
	assert_int_equal(pages_now(), 4);
	/* Either is pinned, both or none. */
	for (pinned = 0; pinned <= 6; pinned++)
		assert_int_equal(are_unseen(), pinned == 2 || pinned > 4);
	rdm_pins_drop_range(first, 1);
	rdm_pins_drop_range(first, 1);
	assert_int_equal(pages_now(), 2);
	rdm_pins_drop_range(first - page_bytes, 3 * page_bytes);
	assert_int_equal(pages_now(), 0);
	rdm_pins_drop_range(first - page_bytes, 3 * page_bytes);
	assert_int_equal(pages_now(), 0);
	pinned = 0;
}

static void ends_in_parts(void **state)
{
	(void)state;
	add(at_page(10), 10 * page_bytes);
	add(at_page(10), 10 * page_bytes);
	add(at_page(12), 2 * page_bytes);
	drop(at_page(13), 3 * page_bytes);
	expect_counts();
	assert_int_equal(pages_now(), 19);
	drop(at_page(0), 13 * page_bytes);
	/* One of the two that were there; the other still is. */
	memset(count, 0, sizeof(count));
	rdm_pins_drop_range(base, T_SLAB);
	rdm_pins_drop_range(base, T_SLAB);
	rdm_pins_drop_range(base, T_SLAB);
	expect_counts();
	assert_int_equal(pages_now(), 0);
}

/* What the kernel does not count hides no stranger's pins, either. */
static void not_counted_by_the_kernel(void **state)
{
	struct rdm_pin *pin = rdm_pins_add(at_page(0), 1000 * page_bytes);
	struct rdm_pin *other = rdm_pins_add(at_page(0), 7 * page_bytes);

	(void)state;
	rdm_pins_name(pin, pin);
	rdm_pins_name(other, other);
	for (pinned = 0; pinned <= 1010; pinned++)
		assert_int_equal(are_unseen(),
				 pinned && pinned != 7 && pinned != 1000 && pinned != 1007);
	/* A registration of no bytes inside a page has that page. */
	rdm_pins_drop(rdm_pins_take(pin));
	rdm_pins_drop(rdm_pins_take(other));
	pin = rdm_pins_add(at_page(0) + 1, 0);
	assert_int_equal(pages_now(), 1);
	assert_int_equal(count_of(0), 1);
	rdm_pins_drop(pin);
	pin = rdm_pins_add(at_page(0), 0);
	assert_int_equal(pages_now(), 0);
	rdm_pins_drop(pin);
	pinned = 0;
}

/* Marks that a stranger has taken away are there again. */
static void marked_again(void **state)
{
	(void)state;
	add(at_page(5), 5 * page_bytes);
	advised(at_page(0), 8 * page_bytes, false);
	assert_int_equal(madvise(at_page(0), 8 * page_bytes, MADV_DOFORK), 0);
	prefork();
	expect_out(false);
	postfork();
	drop(at_page(5), 5 * page_bytes);
}

static void stacks(void **state)
{
	const size_t near = RDM_STACK_ENDS_MAX / page_bytes, top = 3 * near;
	char *block = slab[1]->base, *stack = block + 4096;
	size_t first = (size_t)(block - base) / page_bytes;
	size_t length = top * page_bytes - 4096;

	(void)state;
	assert_false(rdm_stacks_any());
	rdm_pins_note_stack(stack, length);
	rdm_pins_note_stack(block + T_SLAB, T_SLAB / 2);
	assert_true(rdm_stacks_any());
	add(block, T_SLAB);
	prefork();
	/* Where nobody knows what is the C library's, so much of the end is inherited by this one fork. */
	for (size_t p = 0; p < slab[1]->pages; p++)
		assert_int_equal(out[first + p], p < top - near || p >= top);
	postfork();
	/* The thread says what: no page more is. What is said of another end is not of this. */
	rdm_pins_name_own(block + (top - 2) * page_bytes, block + top * page_bytes);
	rdm_pins_name_own(block + (top - 1) * page_bytes, block + top * page_bytes - 1);
	prefork();
	for (size_t p = 0; p < slab[1]->pages; p++)
		assert_int_equal(out[first + p], p < top - 2 || p >= top);
	postfork();
	/* Only those whose ends are in a block that is freed. */
	rdm_pins_forget_stacks(block + top * page_bytes, T_SLAB / 2);
	rdm_pins_forget_stacks(block, top * page_bytes - 1);
	prefork();
	assert_false(out[first + top - 1]);
	postfork();
	rdm_pins_forget_stacks(block, top * page_bytes);
	assert_true(rdm_stacks_any());
	prefork();
	expect_out(false);
	postfork();
	rdm_pins_forget_stacks(block + T_SLAB, T_SLAB / 2);
	assert_false(rdm_stacks_any());
	drop(block, T_SLAB);
}

/* Of the forking thread's stack what is below, up to where its caller's frames begin. */
static void forking_stack(void **state)
{
	const size_t at = (64 << 10) / page_bytes, below = RDM_STACK_BELOW / page_bytes;
	char *block = slab[1]->base, *pointer = block + at * page_bytes + page_bytes / 2;
	size_t first = (size_t)(block - base) / page_bytes, end;

	(void)state;
	add(block, T_SLAB);
	for (unsigned known = 0; known < 2; known++) {
		rdm_stacks_set_caller(known ? block + (at + 1) * page_bytes : NULL);
		end = known ? at + 1 : at + 1 + RDM_STACK_ABOVE / page_bytes;
		prefork_at(pointer);
		for (size_t p = 0; p < slab[1]->pages; p++)
			assert_int_equal(out[first + p], p < at - below || p >= end);
		postfork();
	}
	rdm_stacks_set_caller(NULL);
	drop(block, T_SLAB);
}

/* The registrations are the parent's. */
static int has_none(void *handle)
{
	T_CHECK(!rdm_pins_exist() && !rdm_pins_any(base, LENGTH) && !rdm_pins_take(handle));
	for (size_t p = 0; p < pages; p++)
		T_CHECK(!count_of(p));
	/* And it may have some of its own. */
	T_CHECK(!rdm_pins_add_range(at_page(1), page_bytes) && count_of(1) == 1);
	rdm_pins_drop_range(at_page(1), page_bytes);
	T_CHECK(!rdm_pins_exist() && !count_of(1));
	return T_PASS;
}

static void children(void **state)
{
	struct rdm_pin *pin = rdm_pins_add(at_page(1), 2 * page_bytes);

	(void)state;
	assert_non_null(pin);
	model(at_page(1), 2 * page_bytes, 1);
	rdm_pins_name(pin, state);
	t_fork_passes(has_none, state);
	expect_counts();
	assert_ptr_equal(rdm_pins_take(state), pin);
	rdm_pins_drop(pin);
	model(at_page(1), 2 * page_bytes, -1);
	expect_counts();
}

struct range {
	char *addr;
	size_t length;
};

static struct range some_range(struct t_rng *rng)
{
	struct range range = { .length = t_log_uniform(rng, 1, LENGTH) };

	range.addr = base - MARGIN + t_below(rng, LENGTH + 2 * MARGIN - range.length);
	if (!t_below(rng, 3))
		range.addr = (char *)((uintptr_t)range.addr & -page_bytes);
	return range;
}

static void expect_pinned(const struct range *range)
{
	bool any = false;

	for (size_t p = 0; p < pages; p++)
		any = any || (count[p] && range->addr < at_page(p + 1) &&
			      at_page(p) < range->addr + range->length);
	assert_int_equal(rdm_pins_any(range->addr, range->length), any);
}

/* Byte for byte what is pinned between two addresses of a slab. */
static void expect_runs(const struct rdm_slab *one, char *from, char *to)
{
	char *run = from;
	size_t length;

	while (rdm_pins_next(one, run, to, &run, &length)) {
		assert_true(run >= from && length && run + length <= to);
		for (; from < run; from = at_page((size_t)(from - base) / page_bytes + 1))
			assert_int_equal(count[(size_t)(from - base) / page_bytes], 0);
		assert_ptr_equal(from, run);
		for (; from < run + length; from = at_page((size_t)(from - base) / page_bytes + 1))
			assert_int_not_equal(count[(size_t)(from - base) / page_bytes], 0);
		run += length;
		from = run;
	}
	for (; from < to; from = at_page((size_t)(from - base) / page_bytes + 1))
		assert_int_equal(count[(size_t)(from - base) / page_bytes], 0);
}

static void at_random(void **state)
{
	static struct range range[PINS];
	struct t_rng rng = { .state = t_seed() };
	unsigned n = 0, most = PINS;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		const struct rdm_slab *one = slab[t_below(&rng, SLABS)];
		char *from = one->base + t_below(&rng, one->length);
		char *to = from + t_below(&rng, (size_t)(one->base + one->length - from) + 1);
		struct range other;

		if (round % 100 == 0)
			most = 1 + (unsigned)t_below(&rng, t_below(&rng, 2) ? PINS : 5);
		if (n < most && (!n || t_below(&rng, 2))) {
			range[n] = some_range(&rng);
			add(range[n].addr, range[n].length);
			n++;
		} else {
			unsigned i = (unsigned)t_below(&rng, n);

			drop(range[i].addr, range[i].length);
			range[i] = range[--n];
		}
		expect_counts();
		expect_pinned(&(struct range){ from, (size_t)(to - from) });
		other = some_range(&rng);
		expect_pinned(&other);
		expect_runs(one, from, to);
	}
	while (n--)
		drop(range[n].addr, range[n].length);
	expect_counts();
	assert_int_equal(pages_now(), 0);
}

static int open_pool(void **state)
{
	(void)state;
	pool = rdm_plain_pool("pins", RDM_FORK_DEFAULT);
	return !pool;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(overlapping),
		CASE(across),
		CASE(names),
		CASE(nothing_is_left_behind),
		CASE(cannot_be_put_in),
		CASE(too_many),
		CASE(runs),
		CASE(discarded_or_not),
		CASE(slabs_stay),
		CASE(pinned_by_strangers),
		CASE(left_to_the_kernel),
		CASE(cannot_be_counted),
		CASE(anywhere),
		CASE(ends_in_parts),
		CASE(not_counted_by_the_kernel),
		CASE(marked_again),
		CASE(stacks),
		CASE(forking_stack),
		CASE(children),
		CASE(at_random),
	};

	return cmocka_run_group_tests(tests, open_pool, NULL);
}
