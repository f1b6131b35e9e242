# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# LTP's tests of malloc's neighbours, with a harness of a few lines in the place of its library.

foreign_build_ltp() { # TREE OUT
	local tree=$1 out=$2 file name
	mkdir -p "$out/include"
	cat >"$out/include/tst_test.h" <<'END'
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
enum { TPASS, TFAIL, TBROK, TCONF, TINFO, TWARN, TERRNO = 256, TTERRNO = 512, TRERRNO = 1024 };
struct tst_option { const char *o; char **arg; const char *help; };
struct tst_test {
	void (*test_all)(void);
	void (*test)(unsigned);
	unsigned tcnt;
	void (*setup)(void), (*cleanup)(void);
	int forks_child, needs_root, needs_checkpoints, needs_tmpdir, timeout, runtime, max_runtime, needs_kconfigs_, child_needs_reinit;
	struct tst_option *options;
};
static int failures;
static void tst_res(int kind, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	failures += (kind & 255) == TFAIL || (kind & 255) == TBROK;
	vprintf(format, ap);
	putchar('\n');
	va_end(ap);
	if ((kind & 255) == TCONF)
		exit(77);
}
#define tst_brk tst_res
#define TST_TEST_TCONF(why) int main(void) { puts(why); return 77; }
#define SAFE_FORK fork
#define LTP_VAR_USED(p) (*({ __asm__ volatile("" : "+m"(p)); &(p); }))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define SAFE_MALLOC malloc
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define tst_reap_children() while (wait(NULL) > 0)
#ifndef LTP_NO_MAIN
static struct tst_test test;
int main(void)
{
	if (test.setup)
		test.setup();
	for (unsigned i = 0; i < test.tcnt; i++)
		test.test(i);
	if (test.test_all)
		test.test_all();
	if (test.cleanup)
		test.cleanup();
	return failures != 0;
}
#endif
END
	sed -i '1i #pragma once' "$out/include/tst_test.h"
	echo '#include "tst_test.h"' >"$out/include/tst_safe_macros.h"
	: >"$out/include/config.h"
	for file in "$tree"/testcases/kernel/syscalls/mall{info,info2,opt}/*.c; do
		name=$(basename "$file" .c)
		if cc -w -O1 -DHAVE_MALLINFO -DHAVE_MALLINFO2 -DHAVE_MALLOPT -I"$out/include" -I"$tree/testcases/kernel/syscalls/mallinfo" "$file" -o "$out/$name" -pthread 2>"$out/$name.log"; then
			printf '%s\t%s\n' "$name" "$out/$name"
		fi
	done
}
