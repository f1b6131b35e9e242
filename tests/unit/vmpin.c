/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel counts as pinned is read wherever /proc/self/status is cut, however long it is,
 * and what cannot be read is no number at all.
 */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "plain/vmpin.h"

/* The file, where its pieces end, how far it was read, and whether it can be opened and read. */
static char text[64 << 10];
static size_t length, cut, at;
static bool opens, reads;
static unsigned open_files;

static long read_text(char *to, size_t most)
{
	size_t end = at < cut ? cut : length;
	size_t got = end - at < most ? end - at : most;

	if (!reads) {
		errno = EIO;
		return -1;
	}
	memcpy(to, text + at, got);
	at += got;
	return (long)got;
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long arg[3];
	va_list list;

	va_start(list, number);
	for (unsigned i = 0; i < 3; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_read)
		return read_text((char *)(uintptr_t)arg[1], (size_t)arg[2]);
	open_files += (number == SYS_openat && opens) - (number == SYS_close);
	errno = EMFILE;
	return number == SYS_openat && !opens ? -1 : 7;
}

static bool reads_as(size_t pages)
{
	size_t got = pages + 1;
	bool found;

	at = 0;
	errno = 42;
	found = rdm_vmpin_read(&got);
	assert_int_equal(errno, 42);
	assert_int_equal(open_files, 0);
	return found && got == pages;
}

static bool is_unknown(void)
{
	size_t got;

	at = 0;
	return !rdm_vmpin_read(&got);
}

static void write_text(const char *before, size_t groups, const char *line)
{
	length = (size_t)snprintf(text, sizeof(text), "Name:\tVmPin: 7\n%s\nGroups:\t", before);
	for (size_t i = 0; i < groups; i++)
		length += (size_t)sprintf(text + length, "%zu ", 1612000000 + i);
	length += (size_t)sprintf(text + length, "\nVmLck:\t 4 kB\n%sVmHWM:\t  99999 kB\n", line);
	cut = length;
}

static int begin(void **state)
{
	(void)state;
	opens = reads = true;
	return 0;
}

static void anywhere_cut(void **state)
{
	size_t page_kib = t_page() / 1024;
	char line[64];

	(void)state;
	snprintf(line, sizeof(line), "VmPin:\t%8zu kB\n", 10345 * page_kib);
	write_text("State:\tR\nVmPi\nVmPin", 3, line);
	for (size_t i = 1; i <= length; i++) {
		cut = i;
		assert_true(reads_as(10345));
	}
}

static void behind_many_groups(void **state)
{
	char line[64];

	(void)state;
	snprintf(line, sizeof(line), "VmPin:\t%8zu kB\n", 3 * t_page() / 1024);
	for (size_t groups = 0; groups < 4000; groups += 41) {
		write_text("", groups, line);
		assert_true(reads_as(3));
	}
	write_text("", 5, "VmPin:\t0 kB\n");
	assert_true(reads_as(0));
}

static void unknown(void **state)
{
	(void)state;
	write_text("", 5, "");
	assert_true(is_unknown());
	write_text("", 5, "VmPin:");
	length = cut = (size_t)(strstr(text, "VmHWM") - text);
	assert_true(is_unknown());
	write_text("", 5, "VmPin:\t4 kB\n");
	assert_true(!is_unknown());
	reads = false;
	assert_true(is_unknown());
	opens = false;
	assert_true(is_unknown());
}

/* In a sandbox: nothing is opened any more, and only what was none is known. */
static int in_sandbox(void *arg)
{
	const char *line = arg;

	opens = reads = true;
	write_text("", 5, line);
	at = 0;
	rdm_vmpin_read_last();
	T_CHECK(rdm_vmpin_is_closed());
	/* That would be seen. */
	write_text("", 5, "VmPin:\t8 kB\n");
	opens = false;
	T_CHECK(strstr(line, "\t0 ") ? reads_as(0) : is_unknown());
	return T_PASS;
}

static void last_look(void **state)
{
	char none[] = "VmPin:\t0 kB\n", some[] = "VmPin:\t64 kB\n", nothing[] = "";

	(void)state;
	t_fork_passes(in_sandbox, none);
	t_fork_passes(in_sandbox, some);
	t_fork_passes(in_sandbox, nothing);
	assert_false(rdm_vmpin_is_closed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(anywhere_cut, begin),
		cmocka_unit_test_setup(behind_many_groups, begin),
		cmocka_unit_test_setup(unknown, begin),
		cmocka_unit_test_setup(last_look, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
