/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/conf.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"
#include "rdmalloc.h"

static const char *const backing_words[] = { "default", "anon", "hugetlb", "shared", NULL };
static const char *const pages_words[] = { "default", "best", "base", "thp", "2M", "1G", NULL };
static const char *const fork_words[] = { "default", "hole", "zero", "copy", NULL };
static const char *const fork_init_words[] = { "auto", "never", NULL };
static const char *const switch_words[] = { "false", "true", NULL };
static const char *const preload_fork_words[] = { "registered", "hole", "zero", "copy", NULL };
static const char *const report_words[] = { "0", "1", "json", NULL };
static const char *const log_words[] = { "silent", "error", "warn", "info", NULL };

/* glibc's malloc keeps as large blocks for the next to come, and what is kept is not pinned. */
#ifdef RDM_PRELOAD
#define RDM_CONF_MAGAZINE "32M"
#else
#define RDM_CONF_MAGAZINE "4M"
#endif

/* clang-format off */
const struct rdm_conf_key rdm_conf_keys[] = {
	{ "reserve", RDM_CONF_SIZE, offsetof(struct rdm_conf, reserve), NULL, "0",
	  "addresses that all slabs are carved from; 0: 4T, or as many as are free" },
	{ "slab_size", RDM_CONF_SIZE, offsetof(struct rdm_conf, slab_size), NULL, "4M",
	  "bytes registered at a time, a multiple of 2M; what trim can return" },
	{ "limit", RDM_CONF_SIZE, offsetof(struct rdm_conf, limit), NULL, "0",
	  "bytes of slabs a pool can have; 0: no limit" },
	{ "watermark", RDM_CONF_SIZE, offsetof(struct rdm_conf, watermark), NULL, "0",
	  "bytes that a background thread keeps free in a pool's slabs; 0: it makes none" },
	{ "magazine", RDM_CONF_SIZE, offsetof(struct rdm_conf, magazine), NULL, RDM_CONF_MAGAZINE,
	  "bytes of free blocks that a thread may keep of a pool; 0: none; preload: 32M" },
	{ "backing", RDM_CONF_WORD, offsetof(struct rdm_conf, backing), backing_words, "anon",
	  "where slabs come from: anon, hugetlb, shared" },
	{ "pages", RDM_CONF_WORD, offsetof(struct rdm_conf, pages), pages_words, "best",
	  "page size: best, base, thp, 2M, 1G" },
	{ "fork", RDM_CONF_WORD, offsetof(struct rdm_conf, fork), fork_words, "hole",
	  "what a child finds in a pool: hole, zero, copy" },
	{ "node", RDM_CONF_INT, offsetof(struct rdm_conf, node), NULL, "-1",
	  "NUMA node that slabs are bound to; -1: any" },
	{ "fork_init", RDM_CONF_WORD, offsetof(struct rdm_conf, fork_init), fork_init_words, "auto",
	  "auto: a verbs rail calls ibv_fork_init() where the driver's queues need it; never" },
	{ "log", RDM_CONF_WORD, offsetof(struct rdm_conf, log), log_words, "warn",
	  "what goes to stderr: silent, error, warn, info" },
	{ "publish", RDM_CONF_WORD, offsetof(struct rdm_conf, publish), switch_words, "false",
	  "rdmalloc top, map and stat can watch the process: a thread more" },
	{ "enabled", RDM_CONF_WORD, offsetof(struct rdm_conf, enabled), switch_words, "true",
	  "preload: false leaves the program as it would be without it" },
	{ "threshold", RDM_CONF_SIZE, offsetof(struct rdm_conf, threshold), NULL, "8K",
	  "preload: smaller blocks come from the program's own malloc; 0: all are ours" },
	{ "preload_fork", RDM_CONF_WORD, offsetof(struct rdm_conf, preload_fork),
	  preload_fork_words, "registered",
	  "preload: what a child finds in large blocks: registered, hole, zero, copy" },
	{ "mpi_alloc", RDM_CONF_WORD, offsetof(struct rdm_conf, mpi_alloc), switch_words, "true",
	  "preload: MPI_Alloc_mem comes from the pool" },
	{ "mr_reuse", RDM_CONF_WORD, offsetof(struct rdm_conf, mr_reuse), switch_words, "false",
	  "preload: a registration of large blocks that ended is kept for the next one" },
	{ "report", RDM_CONF_WORD, offsetof(struct rdm_conf, report), report_words, "0",
	  "preload: what was served and protected, when the program ends: 0, 1, json" },
	{ "report_file", RDM_CONF_TEXT, offsetof(struct rdm_conf, report_file), NULL, "",
	  "preload: where that goes, %p is the process, %r the rank; empty: stderr" },
};
/* clang-format on */
const size_t rdm_conf_key_count = sizeof(rdm_conf_keys) / sizeof(rdm_conf_keys[0]);

static struct rdm_conf conf;
static pthread_once_t once = PTHREAD_ONCE_INIT;

bool rdm_conf_parse_size(const char *text, size_t length, size_t *bytes)
{
	static const char suffixes[] = "KMGT";
	size_t value = 0, digits = 0;
	unsigned shift = 0;

	rdm_assert(text && bytes);
	for (; digits < length && text[digits] >= '0' && text[digits] <= '9'; digits++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (size_t)(text[digits] - '0'), &value))
			return false;
	if (!digits || length - digits > 1)
		return false;
	if (length > digits) {
		const char *suffix = memchr(suffixes, text[digits], sizeof(suffixes) - 1);

		if (!suffix)
			return false;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	}
	if (value > SIZE_MAX >> shift)
		return false;
	*bytes = value << shift;
	return true;
}

static bool parse_int(const char *text, size_t length, int *number)
{
	char copy[16];
	char *end;
	long value;

	rdm_assert(text && number);
	if (!length || length >= sizeof(copy))
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	errno = 0;
	value = strtol(copy, &end, 10);
	if (*end || errno || value < INT_MIN || value > INT_MAX)
		return false;
	*number = (int)value;
	return true;
}

static bool parse_word(const char *const *words, const char *text, size_t length, unsigned *index)
{
	rdm_assert(words && words[0]);
	for (unsigned i = 0; words[i]; i++)
		if (strlen(words[i]) == length && !strncmp(words[i], text, length)) {
			*index = i;
			return true;
		}
	return false;
}

static bool copy_text(const char *text, size_t length, char *field)
{
	rdm_assert(field);
	if (length >= RDM_CONF_TEXT_BYTES)
		return false;
	memcpy(field, text, length);
	field[length] = '\0';
	return true;
}

static bool parse_value(const struct rdm_conf_key *key, const char *text, size_t length)
{
	void *field = (char *)&conf + key->offset;

	rdm_assert(key->offset < sizeof(conf));
	rdm_assert(text || !length);
	switch (key->type) {
	case RDM_CONF_SIZE:
		return rdm_conf_parse_size(text, length, field);
	case RDM_CONF_INT:
		return parse_int(text, length, field);
	case RDM_CONF_WORD:
		return parse_word(key->words, text, length, field);
	case RDM_CONF_TEXT:
		return copy_text(text, length, field);
	}
	return false;
}

static const struct rdm_conf_key *find_key(const char *name, size_t length)
{
	rdm_assert(name);
	for (size_t i = 0; i < rdm_conf_key_count; i++)
		if (strlen(rdm_conf_keys[i].name) == length &&
		    !strncmp(rdm_conf_keys[i].name, name, length))
			return &rdm_conf_keys[i];
	return NULL;
}

static void parse_setting(const char *text, size_t length)
{
	const char *colon = memchr(text, ':', length);
	size_t name = colon ? (size_t)(colon - text) : length;
	const struct rdm_conf_key *key = find_key(text, name);

	rdm_assert(length);
	if (!key)
		rdm_log(RDM_LOG_WARN,
			"RDMALLOC_CONF: there is no key '%.*s', it is ignored: see rdmalloc(7)",
			(int)name, text);
	else if (!colon || !parse_value(key, colon + 1, length - name - 1))
		rdm_log(RDM_LOG_WARN,
			"RDMALLOC_CONF: '%.*s' is no value for %s (%s), the default %s is used",
			colon ? (int)(length - name - 1) : 0, colon ? colon + 1 : "", key->name,
			key->meaning, key->standard);
}

static void correct_ranges(void)
{
	const size_t granule = (size_t)2 << 20;
	const size_t most_addresses = (size_t)64 << 40;

	if (!conf.slab_size || conf.slab_size % granule) {
		rdm_log(RDM_LOG_WARN,
			"RDMALLOC_CONF: slab_size %zu is not a multiple of 2M, the default 4M is used",
			conf.slab_size);
		conf.slab_size = 2 * granule;
	}
	if (conf.reserve > most_addresses) {
		rdm_log(RDM_LOG_WARN,
			"RDMALLOC_CONF: reserve %zu is more than 64T, the default 0 is used",
			conf.reserve);
		conf.reserve = 0;
	}
	if (conf.limit && conf.limit < granule) {
		rdm_log(RDM_LOG_WARN,
			"RDMALLOC_CONF: limit %zu is below 2M, the default 0 (no limit) is used",
			conf.limit);
		conf.limit = 0;
	}
	if (conf.node < -1) {
		rdm_log(RDM_LOG_WARN, "RDMALLOC_CONF: node %d is no node, the default -1 is used",
			conf.node);
		conf.node = -1;
	}
}

static void load(void)
{
	const char *text;

	for (size_t i = 0; i < rdm_conf_key_count; i++)
		parse_value(&rdm_conf_keys[i], rdm_conf_keys[i].standard,
			    strlen(rdm_conf_keys[i].standard));
	text = secure_getenv("RDMALLOC_CONF");
	while (text && *text) {
		size_t length = strcspn(text, ",");

		if (length)
			parse_setting(text, length);
		text += length + (text[length] == ',');
	}
	correct_ranges();
	rdm_log_set_level((enum rdm_log_level)conf.log);
}

const struct rdm_conf *rdm_conf(void)
{
	pthread_once(&once, load);
	return &conf;
}
