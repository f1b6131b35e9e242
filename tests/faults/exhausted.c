/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * At the edges of what there is: a full reserve, no hugetlb pages, sizes that
 * no pool can have. Each runs in a process of its own, with its RDMALLOC_CONF.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The library has a reserve of 64 MiB. */
static int full_of_idle_slabs(void)
{
	struct t_recorder *recorder = t_recorder_new("recorder");
	rdm_pool *pool = t_pool("idle", 0, 0, 2 * T_SLAB, 0);
	void *block[64], *wide, *volatile none;
	unsigned n = 0;

	t_recorder_add(recorder, pool);
	while (n < 64 && (block[n] = rdm_malloc(pool, T_SLAB)))
		n++;
	T_CHECKF(n == 32 && errno == ENOMEM, "%u blocks", n);
	T_CHECK(t_stats(pool).slab_bytes == 64 * T_MIB);
	while (n > 1)
		rdm_free(block[--n]);
	wide = rdm_malloc(pool, 8 * T_MIB);
	T_CHECKF(wide, "idle slabs fill the reserve, and 8 MiB are refused: %s", strerror(errno));
	memset(wide, 1, 8 * T_MIB);
	T_CHECK(rdm_pool_of(block[0]) == pool && !t_audit(pool));
	/* With the first slab in use there is no room for this one, whoever is idle. */
	rdm_free(wide);
	T_FAILS(!(none = rdm_malloc(pool, 64 * T_MIB)), ENOMEM);
	rdm_free(block[0]);
	wide = t_malloc(pool, 64 * T_MIB);
	T_CHECK(!t_audit(pool) && recorder->live == 1);
	rdm_free(wide);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
	return T_PASS;
}

/* A limit fills up the same way. */
static int full_to_the_limit(void)
{
	rdm_pool *pool = t_pool("limit", 0, 0, 2 * T_SLAB, 64 * T_MIB);
	void *block;

	T_CHECK(!rdm_pool_reserve(pool, 64 * T_MIB));
	T_CHECK(t_stats(pool).slabs == 16);
	block = t_malloc(pool, 64 * T_MIB);
	rdm_free(block);
	T_CHECK(t_stats(pool).slab_bytes == 64 * T_MIB && !rdm_pool_destroy(pool));
	return T_PASS;
}

static int trim_keeps(void)
{
	static const size_t keep[] = { SIZE_MAX,        SIZE_MAX - 1, SIZE_MAX - 3 * T_SLAB,
				       (size_t)1 << 63, 32 * T_MIB,   32 * T_MIB - 1,
				       28 * T_MIB + 1 };
	rdm_pool *pool = t_pool("trim", 0, 0, 2 * T_SLAB, 0);

	T_CHECK(!rdm_pool_reserve(pool, 32 * T_MIB));
	for (unsigned i = 0; i < sizeof(keep) / sizeof(keep[0]); i++) {
		T_CHECK(!rdm_pool_trim(pool, keep[i]));
		T_CHECKF(t_stats(pool).slab_bytes == 32 * T_MIB, "trim to %zu left %zu", keep[i],
			 t_stats(pool).slab_bytes);
	}
	T_CHECK(!rdm_pool_trim(pool, 28 * T_MIB));
	T_CHECK(t_stats(pool).slab_bytes == 28 * T_MIB);
	T_CHECK(!rdm_pool_trim(pool, 1));
	T_CHECK(t_stats(pool).slab_bytes == 4 * T_MIB);
	T_CHECK(!rdm_pool_trim(pool, 0));
	T_CHECK(!t_stats(pool).slab_bytes && !rdm_pool_destroy(pool));
	return T_PASS;
}

static long first_number(const char *path, const char *format)
{
	FILE *file = fopen(path, "re");
	char line[128];
	long number = -1;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, format, &number) == 1)
			break;
	if (file)
		fclose(file);
	return number;
}

/* One page too many, and far too many. */
static int no_hugetlb_pages(void)
{
	long all = first_number("/proc/sys/vm/nr_overcommit_hugepages", "%ld") +
		   first_number("/proc/meminfo", "HugePages_Total: %ld");
	size_t pages[] = { (size_t)all + 1, (size_t)all + 100 };
	rdm_pool *near = t_pool("near", RDM_BACKING_ANON, 0, 0, 0);
	void *block, *volatile none;
	size_t before = 0;

	if (first_number("/proc/meminfo", "Hugepagesize: %ld") != (long)T_SLAB / 1024)
		t_skip("hugetlb pages are not of 2 MiB here");
	block = t_malloc(near, 1);
	for (unsigned i = 0; i < 8; i++) {
		rdm_pool *pool = t_pool("huge", RDM_BACKING_HUGETLB, 0, pages[i & 1] * T_SLAB, 0);

		T_FAILS(!(none = rdm_malloc(pool, 1)), ENOMEM);
		T_CHECK(!t_stats(pool).slab_bytes);
		T_FAILS(rdm_pool_reserve(pool, 1) == -1, ENOMEM);
		T_CHECK(!rdm_pool_destroy(pool));
		/* The first two lengthen tables, and a sanitizer's shadow with them. */
		if (i == 1)
			before = t_vmas_total();
	}
	T_CHECKF(t_vmas_total() <= before + 1, "%zu mappings are left of slabs that were refused",
		 t_vmas_total() - before);
	/* The addresses are free for others. */
	rdm_free(t_malloc(near, 64 * T_MIB));
	rdm_free(block);
	T_CHECK(!t_audit(near) && !rdm_pool_destroy(near));
	return T_PASS;
}

static int works(void)
{
	rdm_pool *pool = t_pool("works", 0, RDM_FORK_COPY, 0, 0);
	char *block = t_malloc(pool, T_MIB);

	memset(block, 1, T_MIB);
	T_CHECK(!t_audit(pool));
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

static int limit_below_a_page(void)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	rdm_pool *volatile none;

	config.backing = RDM_BACKING_HUGETLB;
	config.pages = RDM_PAGES_1G;
	config.limit = 1024 * T_MIB - T_SLAB;
	T_FAILS(!(none = rdm_pool_create(&config)), EINVAL);
	return T_PASS;
}

static int free_as_max(void *block)
{
	rdm_free_sized(block, SIZE_MAX);
	return T_PASS;
}

static int free_sized_max(void)
{
	rdm_pool *pool = t_pool("sized", 0, 0, 0, 0);
	void *block = t_malloc(pool, 100);
	struct t_caught caught;

	t_catch(&caught, free_as_max, block);
	t_caught_abort(&caught, block, "18446744073709551615");
	rdm_free_sized(block, 100);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

struct act {
	const char *name, *conf;
	int (*run)(void);
	const char *line; /* what is said on stderr; NULL: nothing, "": whatever */
};

static const struct act acts[] = {
	{ "idle slabs", "reserve:64M", full_of_idle_slabs, "" },
	{ "idle slabs and a limit", "", full_to_the_limit, NULL },
	{ "trim", "", trim_keeps, NULL },
	{ "hugetlb", "", no_hugetlb_pages, "" },
	{ "limit below a page", "", limit_below_a_page, "limit is smaller" },
	{ "free_sized", "", free_sized_max, NULL },
	{ "reserve", "reserve:65T", works, "71468255805440" },
	{ "reserve", "reserve:18446744073709551615", works, "18446744073709551615" },
	{ "reserve", "reserve:18446744073707454464", works, "18446744073707454464" },
	{ "reserve", "reserve:16777215T", works, "18446742974197923840" },
	{ "reserve", "reserve:16777216T", works, "16777216T" },
	/* It may have to be made smaller, and that is one line. */
	{ "reserve", "reserve:64T", works, "" },
	{ "reserve", "reserve:4194305K", works, NULL },
	{ "reserve", "reserve:3M", works, NULL },
	{ "reserve", "reserve:0", works, NULL },
};

static int run_act(void *arg)
{
	const struct act *act = arg;

	return t_again(act->conf, (size_t)(act - acts));
}

static bool skipped(const struct act *act)
{
	struct t_caught caught;

	t_say("%s, RDMALLOC_CONF=\"%s\"", act->name, act->conf);
	t_catch(&caught, run_act, (void *)act);
	if (caught.status == T_SKIP << 8)
		return true;
	if (act->line && *act->line)
		t_caught_line(&caught, act->line, NULL);
	T_CHECKF(!caught.status, "status %#x: %s", caught.status, caught.err);
	T_CHECKF(act->line || !caught.len, "%s", caught.err);
	return false;
}

int main(int argc, char **argv)
{
	int status = T_PASS;

	if (argc > 1)
		return acts[atoi(argv[1])].run();
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		if (skipped(&acts[i]))
			status = T_SKIP;
	return status;
}
