/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "rdmalloc.h"
#include "trace.h"
#include "worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static rdm_pool *pool;

static const char *open_rdmalloc(void)
{
	pool = rdm_pool_create(NULL);
	return pool ? NULL : strerror(errno);
}

static void *alloc_rdmalloc(size_t size)
{
	return rdm_malloc(pool, size);
}

static void sample_rdmalloc(struct trace_sample *sample)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	if (rdm_pool_stats(pool, &stats))
		bench_die("rdm_pool_stats: %s", strerror(errno));
	*sample = (struct trace_sample){
		.resident = stats.slab_bytes,
		.carved = stats.carved_bytes,
		.live = stats.live_bytes,
		.magazine = stats.magazine_bytes,
		.depot = stats.depot_bytes,
		.growths = stats.growths,
	};
}

static void trim_rdmalloc(void)
{
	if (rdm_pool_trim(pool, 0))
		bench_die("rdm_pool_trim: %s", strerror(errno));
}

const struct trace_subject trace_rdmalloc = {
	.name = "rdmalloc",
	.open = open_rdmalloc,
	.alloc = alloc_rdmalloc,
	.free = rdm_free,
	.sample = sample_rdmalloc,
	.trim = trim_rdmalloc,
};

/* jemalloc, where it stands for malloc. */
static int (*mallctl)(const char *name, void *old, size_t *old_length, void *new,
		      size_t new_length);

static const char *open_malloc(void)
{
	union {
		void *object;
		int (*function)(const char *, void *, size_t *, void *, size_t);
	} found = { dlsym(RTLD_DEFAULT, "mallctl") };

	mallctl = found.function;
	return NULL;
}

static uint64_t read_size(const char *name)
{
	size_t value, length = sizeof(value);
	int error = mallctl(name, &value, &length, NULL, 0);

	if (error)
		bench_die("mallctl %s: %s", name, strerror(error));
	return value;
}

static void sample_malloc(struct trace_sample *sample)
{
	uint64_t epoch = 1;

	*sample = (struct trace_sample){ 0 };
	if (!mallctl)
		return;
	mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
	sample->resident = read_size("stats.resident");
	sample->carved = read_size("stats.active");
	sample->live = read_size("stats.allocated");
}

const struct trace_subject trace_malloc = {
	.name = "malloc",
	.open = open_malloc,
	.alloc = malloc,
	.free = free,
	.sample = sample_malloc,
};
