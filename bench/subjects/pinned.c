/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that is pinned without MADV_DONTFORK: the kernel copies it in fork().
 * For fork-copy it is what the pool has pinned, live or not: twice the size.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "huge.h"
#include "device.h"
#include "worker.h"

#define SUBJECT_NAME "pinned"

static char *memory;
static size_t length;

static const char *subject_open(void)
{
	return NULL;
}

static void give_back(void)
{
	bench_device_close();
	munmap(memory, length);
}

static const char *set_pinned(const struct bench_case *c)
{
	const char *why = bench_device_open();
	int error;

	if (why)
		return why;
	length = strcmp(c->work, "fork-copy") ? c->size : 2 * c->size;
	memory = bench_huge(length);
	error = memory ? bench_populate(memory, length, bench_cpus()) : errno;
	/* THP of zeros are no worse to copy, but nobody's buffers are that. */
	if (!error) {
		memset(memory, 1, length);
		why = bench_device_table((unsigned)((length - 1) / BENCH_PIN_MAX + 1));
	}
	if (!error && !why)
		error = bench_pin_all(memory, length);
	if (error)
		why = bench_why("%zu MiB: %s", length >> 20, strerror(error));
	if (why)
		give_back();
	return why;
}

static void unset_pinned(const struct bench_case *c)
{
	(void)c;
	give_back();
}

#define SUBJECT_WORKS                                              \
	{ "fork-hole", set_pinned, bench_forks, unset_pinned },    \
	{                                                          \
		"fork-copy", set_pinned, bench_forks, unset_pinned \
	}

#include "loops.h"
