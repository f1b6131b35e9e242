/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel itself takes for the work that a pool asks of it:
 * reserve: populating as many bytes of huge pages, in so many threads, and pinning them.
 * fork-copy: populating as many bytes of huge pages as are live, and filling them.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "huge.h"
#include "device.h"
#include "worker.h"

#define SUBJECT_NAME "bare"

static const char *subject_open(void)
{
	return NULL;
}

static const char *reserve_once(const struct bench_case *c, uint64_t *ns)
{
	const char *why = bench_device_open();
	uint64_t begin;
	char *memory;
	int error;

	if (why)
		return why;
	why = bench_device_table((unsigned)((c->size - 1) / BENCH_PIN_MAX + 1));
	if (!why) {
		begin = bench_now();
		memory = bench_huge(c->size);
		error = memory ? bench_populate(memory, c->size, c->threads) : errno;
		if (!error)
			error = bench_pin_all(memory, c->size);
		*ns += bench_now() - begin;
		if (error)
			why = bench_why("%zu MiB: %s", c->size >> 20, strerror(error));
		if (memory)
			munmap(memory, c->size);
	}
	bench_device_close();
	return why;
}

static const char *run_reserve(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			       uint64_t *done)
{
	const char *why = NULL;

	for (; *done < operations && !why; ++*done)
		why = reserve_once(c, ns);
	return why;
}

static const char *run_fill(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			    uint64_t *done)
{
	for (; *done < operations; ++*done) {
		uint64_t begin = bench_now();
		char *memory = bench_huge(c->size);
		int error = memory ? bench_populate(memory, c->size, c->threads) : errno;

		if (error)
			return bench_why("%zu MiB: %s", c->size >> 20, strerror(error));
		memset(memory, 1, c->size);
		*ns += bench_now() - begin;
		munmap(memory, c->size);
	}
	return NULL;
}

#define SUBJECT_WORKS                             \
	{ "reserve", NULL, run_reserve, NULL },   \
	{                                         \
		"fork-copy", NULL, run_fill, NULL \
	}

#include "loops.h"
