# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Those of jemalloc's test/integration that use standard names, with a harness of a few lines in
# the place of jemalloc's own, which is part of its build.

foreign_build_jemalloc() { # TREE OUT
	local tree=$1 out=$2 name
	mkdir -p "$out/include/test"
	cat >"$out/include/test/jemalloc_test.h" <<'END'
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define TEST_BEGIN(name) static void name(void) {
#define TEST_END }
#define test_malloc_conf_init
#define JEMALLOC_DIAGNOSTIC_PUSH
#define JEMALLOC_DIAGNOSTIC_POP
#define JEMALLOC_DIAGNOSTIC_IGNORE(what)
#define JEMALLOC_DIAGNOSTIC_IGNORE_ALLOC_SIZE_LARGER_THAN
#define PRINTF_SHIM
static int failures;
static inline void shim(bool right, const char *file, int line, const char *what)
{
	if (!right)
		failures++, printf("%s:%d: %s\n", file, line, what);
}
#define SHIM(right) shim(right, __FILE__, __LINE__, #right)
#define expect_d_eq(a, b, ...) SHIM((a) == (b))
#define expect_d_ne(a, b, ...) SHIM((a) != (b))
#define expect_zu_eq(a, b, ...) SHIM((a) == (b))
#define expect_zu_ge(a, b, ...) SHIM((a) >= (b))
#define expect_zu_le(a, b, ...) SHIM((a) <= (b))
#define expect_ptr_eq(a, b, ...) SHIM((a) == (b))
#define expect_ptr_ne(a, b, ...) SHIM((void *)(a) != (void *)(b))
#define expect_ptr_null(a, ...) SHIM((a) == NULL)
#define expect_ptr_not_null(a, ...) SHIM((a) != NULL)
#define expect_ptr_eq(a, b, ...) SHIM((a) == (b))
#define expect_b_eq(a, b, ...) SHIM((a) == (b))
#define expect_false(a, ...) SHIM(!(a))
#define expect_true(a, ...) SHIM(a)
#define assert_ptr_not_null expect_ptr_not_null
#define assert_ptr_ne expect_ptr_ne
#define assert_ptr_null expect_ptr_null
#define assert_d_eq expect_d_eq
#define assert_d_ne expect_d_ne
#define test_fail(...) SHIM(false)
#define test_skip_if(x) do { if (x) return; } while (0)
#define get_errno() errno
#define set_errno(e) (errno = (e))
#define ZU(n) ((size_t)n##ULL)
#define unlikely(x) (x)
#define config_stats false
#define LG_SIZEOF_PTR 3
#define BUFERROR_BUF 64
#define buferror(e, b, n) snprintf(b, n, "%d", e)
#define TEST_MALLOC_SIZE malloc_usable_size
#define malloc_snprintf snprintf
static inline int mallctl(const char *n, void *a, size_t *b, void *c, size_t d) { return 0; }
static inline int shim_run(void (*one)(void), ...)
{
	va_list ap;
	va_start(ap, one);
	for (; one; one = va_arg(ap, void (*)(void)))
		one();
	return failures != 0;
}
#define test(...) shim_run(__VA_ARGS__, (void (*)(void))0)
#define test_no_reentrancy test
END
	for name in aligned_alloc posix_memalign malloc; do
		if cc -w -O1 -fno-builtin -I"$out/include" "$tree/test/integration/$name.c" -o "$out/$name" 2>"$out/$name.log"; then
			printf 'integration/%s\t%s\n' "$name" "$out/$name"
		fi
	done
	for name in basic infallible_new_true infallible_new_false; do
		[ -e "$tree/test/integration/cpp/$name.cpp" ] || continue
		if c++ -w -O1 -fpermissive -I"$out/include" "$tree/test/integration/cpp/$name.cpp" -o "$out/cpp-$name" 2>"$out/cpp-$name.log"; then
			printf 'integration/cpp/%s\t%s\n' "$name" "$out/cpp-$name"
		fi
	done
}
