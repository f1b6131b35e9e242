/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RDMALLOC_CONF: an unknown key or a value that makes no sense is one line that
 * names it, and the default is used; what is right takes effect without a word.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conf_case {
	const char *conf;
	const char *key, *value; /* what the line names; NULL: no line */
	size_t slab;             /* what a pool gets */
	size_t limit;
	char child; /* what a child finds: h(ole), z(ero) or c(opy) */
};

static const struct conf_case cases[] = {
	{ "", NULL, NULL, 4, 0, 'h' },
	{ "slab_size:8M,fork:zero,limit:1G", NULL, NULL, 8, 1024, 'z' },
	{ "fork:copy", NULL, NULL, 4, 0, 'c' },
	{ "slab_size:2097152,", NULL, NULL, 2, 0, 'h' },
	{ "fork:default,backing:default,pages:default", NULL, NULL, 4, 0, 'h' },
	{ "nosuchkey:1", "nosuchkey", NULL, 4, 0, 'h' },
	{ "nosuchkey", "nosuchkey", NULL, 4, 0, 'h' },
	{ "nosuchkey:1,fork:zero", "nosuchkey", NULL, 4, 0, 'z' },
	{ "fork:banana", "fork", "banana", 4, 0, 'h' },
	{ "fork:ZERO", "fork", "ZERO", 4, 0, 'h' },
	{ "fork", "fork", NULL, 4, 0, 'h' },
	{ "fork:zeroo,slab_size:8M", "fork", "zeroo", 8, 0, 'h' },
	{ "backing:tape", "backing", "tape", 4, 0, 'h' },
	{ "pages:3M", "pages", "3M", 4, 0, 'h' },
	{ "slab_size:3M", "slab_size", "3", 4, 0, 'h' },
	{ "slab_size:0", "slab_size", "0", 4, 0, 'h' },
	{ "slab_size:-4M", "slab_size", "-4M", 4, 0, 'h' },
	{ "slab_size:4MM", "slab_size", "4MM", 4, 0, 'h' },
	{ "slab_size:99999999999999999999999", "slab_size", "99999999999999999999999", 4, 0, 'h' },
	{ "limit:99999999999T", "limit", "99999999999T", 4, 0, 'h' },
	{ "limit:x", "limit", "x", 4, 0, 'h' },
	{ "limit:1M", "limit", "1048576", 4, 0, 'h' },
	{ "watermark:8M,limit:4M", NULL, NULL, 4, 4, 'h' },
	{ "watermark:much", "watermark", "much", 4, 0, 'h' },
	{ "node:first", "node", "first", 4, 0, 'h' },
	{ "node:-7", "node", "-7", 4, 0, 'h' },
	{ "log:loud", "log", "loud", 4, 0, 'h' },
	{ "reserve:lots", "reserve", "lots", 4, 0, 'h' },
};

static int inherits(void *block)
{
	unsigned char *p = block;

	return t_faults(p, false) ? 'h' : *p == 0 ? 'z' : *p == 7 ? 'c' : '?';
}

/* The library as this environment makes it. */
static int subject(const struct conf_case *expected)
{
	struct rdm_stats stats = { .size = sizeof(stats) };
	rdm_pool *pool = rdm_pool_create(NULL);
	unsigned char *block;
	int status;

	T_CHECK(pool);
	block = t_malloc(pool, 1);
	*block = 7;
	T_CHECK(!rdm_pool_stats(pool, &stats));
	T_CHECKF(stats.slab_bytes == expected->slab * T_MIB, "slab of %zu bytes", stats.slab_bytes);
	T_CHECKF(stats.limit == expected->limit * T_MIB, "limit of %zu bytes", stats.limit);
	status = t_fork(inherits, block);
	T_CHECKF(status >> 8 == expected->child, "the child finds '%c'", status >> 8);
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

static int run_case(void *arg)
{
	const struct conf_case *one = arg;

	return t_again(one->conf, (size_t)(one - cases));
}

int main(int argc, char **argv)
{
	struct t_caught caught;

	if (argc > 1)
		return subject(&cases[atoi(argv[1])]);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct conf_case *one = &cases[i];

		t_say("RDMALLOC_CONF=\"%s\"", one->conf);
		t_catch(&caught, run_case, (void *)one);
		if (one->key) {
			t_caught_line(&caught, one->key, one->value);
			T_CHECK(strstr(caught.err, "RDMALLOC_CONF"));
		} else {
			T_CHECKF(!caught.status && !caught.len, "status %#x: %s", caught.status,
				 caught.err);
		}
	}
	return T_PASS;
}
