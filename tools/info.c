/* SPDX-License-Identifier: BSD-2-Clause */
#include "info.h"

#include <dlfcn.h>
#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/conf.h"
#include "config.h"
#include "info_process.h"
#include "options.h"
#include "output.h"
#include "preloadable.h"
#include "published.h"
#include "rdmalloc.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define KEYS_INDENT 35

static const struct command_option options[] = {
	{ .name = "environment",
	  .key = 'e',
	  .is_letter = true,
	  .meaning = "every key of RDMALLOC_CONF=\"key:value,...\": type, default, meaning" },
	{ .name = "json", .key = 'j', .meaning = "for machines" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "all went well" },
	{ FINDING, "the process cannot be looked at, or has no library of rdmalloc's, which "
		   "a line says; or nothing could be written" },
	{ USAGE, "wrong usage" },
	{ 0, NULL },
};

static const struct command command = {
	.name = "info",
	.operands = "[PID]",
	.about =
		"What this build is: version, rails and options, where the libraries are, and what "
		"of the kernel's they can use here. Of a process: which of the libraries it has, "
		"how it is configured, what limits it.",
	.options = options,
	.statuses = statuses,
};

static const struct {
	const char *name;
	bool is_there;
} parts[] = {
#ifdef HAVE_VERBS
	{ "verbs", true },
#else
	{ "verbs", false },
#endif
#ifdef HAVE_URING
	{ "io_uring", true },
#else
	{ "io_uring", false },
#endif
#ifdef HAVE_NUMA
	{ "numa", true },
#else
	{ "numa", false },
#endif
};

static bool can_populate(void *page, size_t size)
{
	return !madvise(page, size, MADV_POPULATE_WRITE);
}

static bool can_move(void *page, size_t size)
{
	void *moved = mremap(page, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);

	if (moved == MAP_FAILED)
		return false;
	munmap(moved, size);
	return true;
}

static bool has_membarrier(void *page, size_t size)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	(void)page, (void)size;
	return commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED;
}

static const struct {
	const char *name;
	bool (*test)(void *page, size_t size);
} features[] = {
	{ "MADV_POPULATE_WRITE", can_populate },
	{ "MREMAP_DONTUNMAP", can_move },
	{ "membarrier", has_membarrier },
};

static json_t *find_features(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	json_t *found = json_object();

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);

		json_object_set_new(
			found, features[i].name,
			json_boolean(page != MAP_FAILED && features[i].test(page, size)));
		if (page != MAP_FAILED)
			munmap(page, size);
	}
	return found;
}

static json_t *find_parts(void)
{
	json_t *built = json_object();

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		json_object_set_new(built, parts[i].name, json_boolean(parts[i].is_there));
	return built;
}

static json_t *find_library(void)
{
	char path[PATH_MAX];
	Dl_info info;

	if (!dladdr((void *)(uintptr_t)&rdm_version, &info) || !realpath(info.dli_fname, path))
		return json_null();
	return json_string(path);
}

static json_t *find_preload(void)
{
	char path[PATH_MAX], real[PATH_MAX];

	if (!preload_find(path, sizeof(path)) || !realpath(path, real))
		return json_null();
	return json_string(real);
}

static json_t *describe(void)
{
	json_t *description = json_object();

	json_object_set_new(description, "version", json_string(PACKAGE_VERSION));
	json_object_set_new(description, "library_version", json_string(rdm_version()));
	json_object_set_new(description, "library", find_library());
	json_object_set_new(description, "preload", find_preload());
	json_object_set_new(description, "built_with", find_parts());
	json_object_set_new(description, "jemalloc", json_string(JEMALLOC_VERSION));
	json_object_set_new(description, "sanitizer",
			    *RDM_SANITIZER ? json_string(RDM_SANITIZER) : json_null());
	json_object_set_new(description, "kernel_has", find_features());
	return description;
}

static void print_value(const json_t *value)
{
	const char *key;
	json_t *is;
	bool any = false;

	if (json_is_string(value))
		printf("%s", json_string_value(value));
	else if (!json_is_object(value))
		printf("none");
	else
		json_object_foreach((json_t *)value, key, is)
		{
			printf("%s%s%s", any ? ", " : "", json_is_true(is) ? "" : "no ", key);
			any = true;
		}
	putchar('\n');
}

static void print_description(json_t *description)
{
	const char *key;
	json_t *value;

	json_object_foreach(description, key, value)
	{
		char name[32];

		snprintf(name, sizeof(name), "%s", key);
		if (strchr(name, '_'))
			*strchr(name, '_') = ' ';
		print_coloured(stdout, COLOUR_BOLD, "%-16s", name);
		print_value(value);
	}
	json_decref(description);
}

static const char *type_name(enum rdm_conf_type type)
{
	static const char *const names[] = {
		[RDM_CONF_SIZE] = "size",
		[RDM_CONF_INT] = "integer",
		[RDM_CONF_WORD] = "word",
		[RDM_CONF_TEXT] = "text",
	};

	return names[type];
}

static json_t *list_words(const struct rdm_conf_key *key)
{
	json_t *words = json_array();

	for (const char *const *word = key->words; word && *word; word++)
		json_array_append_new(words, json_string(*word));
	return words;
}

static int print_keys_json(void)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < rdm_conf_key_count; i++) {
		const struct rdm_conf_key *key = &rdm_conf_keys[i];

		json_array_append_new(keys, json_pack("{s:s, s:s, s:o, s:s, s:s}", "key", key->name,
						      "type", type_name(key->type), "words",
						      list_words(key), "default", key->standard,
						      "meaning", key->meaning));
	}
	return output_json(keys);
}

static void print_keys(void)
{
	print_coloured(stdout, COLOUR_BOLD, "%-13s %-8s %-11s %s\n", "key", "type", "default",
		       "meaning");
	for (size_t i = 0; i < rdm_conf_key_count; i++) {
		const struct rdm_conf_key *key = &rdm_conf_keys[i];

		printf("%-13s %-8s %-11s ", key->name, type_name(key->type),
		       *key->standard ? key->standard : "(empty)");
		print_wrapped(key->meaning, KEYS_INDENT);
	}
	puts("\nRDMALLOC_CONF=\"key:value,key:value\"; a size is bytes, or ends with K, M, G or T.\n"
	     "rdmalloc(7) says more of each.");
}

struct wanted {
	bool keys, json;
};

static int take(void *into, int key, const char *argument)
{
	struct wanted *wanted = into;

	(void)argument;
	wanted->keys = wanted->keys || key == 'e';
	wanted->json = wanted->json || key == 'j';
	return GO_ON;
}

static int show_build(bool keys, bool json)
{
	if (json)
		return (keys ? print_keys_json() : output_json(describe())) ? FINDING : FINE;
	if (keys)
		print_keys();
	else
		print_description(describe());
	return FINE;
}

int command_info(int argc, char **argv)
{
	struct wanted wanted = { false, false };
	int status = options_parse(&command, argc, argv, take, &wanted);

	if (status != GO_ON)
		return status;
	if (optind == argc)
		return show_build(wanted.keys, wanted.json);
	if (optind + 1 == argc && !wanted.keys && heap_parse_pid(argv[optind]) >= 0)
		return info_of_process(heap_parse_pid(argv[optind]), wanted.json);
	return usage_error(&command, "'%s' is not understood", argv[optind]);
}
