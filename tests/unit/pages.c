/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plain pages where the kernel refuses: a move of several mappings, of any, or one that has
 * unmapped what was there; pages that cannot be given back. Nothing is lost, and who asks is told.
 */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "memory/locked.h"
#include "memory/state.h"
#include "plain/pages.h"

#define LENGTH (9 * T_MIB)
/* As between two slabs. */
#define APART (LENGTH + 3 * T_MIB)

static char *from, *to;

/* What the kernel is made to refuse; how often it was asked to move. */
static enum refusal { NOTHING, SEVERAL, ANY, UNKNOWN, TARGET, DISCARD } refusal;
static unsigned moves;

static long refuse(int error)
{
	errno = error;
	return -1;
}

/* Whether [addr, addr + length) has the middle of the block's first mapping and something behind it. */
static bool crosses(uintptr_t addr, size_t length)
{
	uintptr_t edge = (uintptr_t)from + 5 * T_MIB / 2;

	return addr < edge && addr + length > edge;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long arg[6];
	va_list list;

	va_start(list, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_mremap) {
		bool fixed = arg[3] & MREMAP_FIXED;

		moves++;
		if (!fixed && (refusal == ANY ||
			       (refusal == SEVERAL && crosses((uintptr_t)arg[0], (size_t)arg[1]))))
			return refuse(EFAULT);
		if (!fixed && refusal == UNKNOWN)
			return refuse(EINVAL);
		/* As kernels do that find out late. */
		if (fixed && refusal == TARGET && arg[4] == (long)(uintptr_t)to) {
			refusal = NOTHING;
			T_CHECK(!munmap((void *)(uintptr_t)arg[4], (size_t)arg[1]));
			return refuse(ENOMEM);
		}
	}
	if (number == SYS_madvise && arg[2] == MADV_DONTNEED && refusal == DISCARD)
		return refuse(EINVAL);
	return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

static int begin(void **state)
{
	(void)state;
	rdm_state.page_shift = (unsigned)__builtin_ctzl(t_page());
	from = mmap(NULL, APART + LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		    0);
	T_CHECK(from != MAP_FAILED);
	to = from + APART;
	t_pattern_fill(from, LENGTH, 1);
	memset(to, 9, LENGTH);
	refusal = NOTHING;
	moves = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	refusal = NOTHING;
	return munmap(from, APART + LENGTH);
}

static void check_moved(void)
{
	T_CHECK(t_pattern_check(to, LENGTH, 1) == LENGTH);
	memset(to, 2, LENGTH);
	memset(from, 3, LENGTH);
}

static void moves_whole(void **state)
{
	(void)state;
	if (!rdm_pages_move(to, from, LENGTH))
		t_say("SKIP: this kernel has no MREMAP_DONTUNMAP"), skip();
	T_CHECK(from[0] == 0 && from[LENGTH - 1] == 0);
	check_moved();
}

static void moves_pieces(void **state)
{
	(void)state;
	refusal = SEVERAL;
	if (!rdm_pages_move(to, from, LENGTH))
		skip();
	T_CHECKF(moves > 2, "%u moves", moves);
	T_CHECKF(from[0] == 0 && from[LENGTH - 1] == 0, "all was copied");
	check_moved();
}

static void copies_what_does_not_move(void **state)
{
	(void)state;
	refusal = ANY;
	T_CHECK(rdm_pages_move(to, from, LENGTH));
	check_moved();
}

/* Then the caller copies. */
static void says_that_it_cannot(void **state)
{
	(void)state;
	refusal = UNKNOWN;
	T_CHECK(!rdm_pages_move(to, from, LENGTH));
	T_CHECK(moves == 1);
	T_CHECK(t_pattern_check(from, LENGTH, 1) == LENGTH && t_is_byte(to, LENGTH, 9));
}

static void target_gone(void **state)
{
	(void)state;
	refusal = TARGET;
	if (!rdm_pages_move(to, from, LENGTH))
		skip();
	check_moved();
}

/* As is done on most kernels, the real thing: a mapping of several. */
static void moves_what_is_split(void **state)
{
	(void)state;
	T_CHECK(!mprotect(from + T_MIB, T_MIB, PROT_READ));
	if (!rdm_pages_move(to, from, LENGTH))
		skip();
	T_CHECK(t_pattern_check(to, LENGTH, 1) == LENGTH);
}

static void discards(void **state)
{
	(void)state;
	T_CHECK(rdm_pages_discard(from, LENGTH, true) && t_is_byte(from, LENGTH, 0));
	T_CHECK(rdm_pages_discard(to, t_page(), true) && t_is_byte(to, t_page(), 0));
	T_CHECK(rdm_pages_discard(to, LENGTH, false) && t_is_byte(to, LENGTH, 0));
}

static void says_that_pages_stay(void **state)
{
	(void)state;
	refusal = DISCARD;
	T_CHECK(!rdm_pages_discard(to, LENGTH, false) && t_is_byte(to, LENGTH, 9));
	rdm_locked_note(true);
	T_CHECK(!rdm_pages_discard(to, LENGTH, true) && t_is_byte(to, LENGTH, 9));
	rdm_locked_note(false);
}

static void mends_holes(void **state)
{
	(void)state;
	T_CHECK(!munmap(to + T_MIB, T_MIB));
	T_CHECK(rdm_pages_discard(to, LENGTH, false) && t_is_byte(to, LENGTH, 0));
	memset(to, 1, LENGTH);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(moves_whole),
		TEST(moves_pieces),
		TEST(copies_what_does_not_move),
		TEST(says_that_it_cannot),
		TEST(target_gone),
		TEST(moves_what_is_split),
		TEST(discards),
		TEST(says_that_pages_stay),
		TEST(mends_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
