/* SPDX-License-Identifier: BSD-2-Clause */
#include "run.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload.h"

/* As env(1) and nohup(1) have them. */
enum { USAGE = 2, CANNOT_PRELOAD = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

static const struct option options[] = {
	{ "fork", required_argument, NULL, 'f' },
	{ "threshold", required_argument, NULL, 't' },
	{ "report", optional_argument, NULL, 'r' },
	{ "json", no_argument, NULL, 'j' },
	{ "conf", required_argument, NULL, 'c' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void print_usage(FILE *out)
{
	fputs("Usage: rdmalloc run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
	      "\n"
	      "Runs a program, and what it starts, with large blocks from memory that is safe to\n"
	      "register for RDMA when the program forks.\n"
	      "\n"
	      "  --fork=POLICY    what a child finds in large blocks: registered (a copy of what is\n"
	      "                   registered, the rest as ever; the default), copy, hole, zero\n"
	      "  --threshold=N    smaller blocks come from the program's own malloc (8K); 0: all are ours\n"
	      "  --report[=FILE]  what was served and protected, at exit; %p in FILE is the process,\n"
	      "                   %r its rank\n"
	      "  --json           the report for machines\n"
	      "  --conf=KEY:VALUE[,...]\n"
	      "                   any other setting, see rdmalloc(7)\n"
	      "\n"
	      "Under mpirun it comes last: mpirun -n 4 rdmalloc run PROGRAM. Exit status: the\n"
	      "program's; 125 when nothing can be preloaded, 126 when it cannot be run, 127 when\n"
	      "there is none, 2 for wrong usage.\n",
	      out);
}

/* Adds to an environment variable; before or after what is there. */
static void extend(const char *name, const char *value, char separator, bool first)
{
	const char *old = getenv(name);
	char *text;

	if (!old || !*old) {
		setenv(name, value, 1);
		return;
	}
	if (asprintf(&text, "%s%c%s", first ? value : old, separator, first ? old : value) < 0) {
		perror("rdmalloc");
		exit(CANNOT_PRELOAD);
	}
	setenv(name, text, 1);
	free(text);
}

static void configure(const char *key, const char *value)
{
	char text[512];

	snprintf(text, sizeof(text), "%s:%s", key, value);
	extend("RDMALLOC_CONF", text, ',', false);
}

static int usage_error(const char *what, const char *value)
{
	fprintf(stderr, "rdmalloc run: %s '%s'\n", what, value);
	return USAGE;
}

static bool is_policy(const char *word)
{
	static const char *const words[] = { "registered", "copy", "hole", "zero" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(word, words[i]))
			return true;
	return false;
}

static bool is_size(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && (!text[digits] || (strchr("KMGT", text[digits]) && !text[digits + 1]));
}

static int apply(int option, bool *json, const char **report)
{
	switch (option) {
	case 'f':
		if (!is_policy(optarg))
			return usage_error("--fork is registered, copy, hole or zero, not", optarg);
		configure("preload_fork", optarg);
		return 0;
	case 't':
		if (!is_size(optarg))
			return usage_error("--threshold is bytes, as in 64K, not", optarg);
		configure("threshold", optarg);
		return 0;
	case 'r':
		*report = optarg ? optarg : "";
		if (strchr(*report, ','))
			return usage_error("there can be no comma in the report's file", *report);
		return 0;
	case 'j':
		*json = true;
		return 0;
	case 'c':
		extend("RDMALLOC_CONF", optarg, ',', false);
		return 0;
	default:
		print_usage(stderr);
		return USAGE;
	}
}

/* The file that execvp() will take. */
static bool find_program(const char *name, char *path, size_t size)
{
	const char *dirs = getenv("PATH");

	if (strchr(name, '/')) {
		snprintf(path, size, "%s", name);
		return !access(path, F_OK);
	}
	for (dirs = dirs ? dirs : "/bin:/usr/bin"; *dirs;) {
		int length = (int)strcspn(dirs, ":");

		snprintf(path, size, "%.*s%s%s", length, dirs, length ? "/" : "./", name);
		if (!access(path, X_OK))
			return true;
		dirs += length + (dirs[length] == ':');
	}
	return false;
}

static int start(char **argv)
{
	char library[2048], program[2048];
	enum rdm_fit fit;

	if (!rdm_preload_find(library, sizeof(library)))
		return CANNOT_PRELOAD;
	if (!find_program(*argv, program, sizeof(program))) {
		fprintf(stderr, "rdmalloc: there is no program %s\n", *argv);
		return NOT_FOUND;
	}
	fit = rdm_preload_fits(program, library);
	if (fit == RDM_FITS_NOT)
		return CANNOT_PRELOAD;
	if (strpbrk(library, " :")) {
		fprintf(stderr,
			"rdmalloc: %s cannot be preloaded: its path has a blank or a colon\n",
			library);
		return CANNOT_PRELOAD;
	}
	if (fit == RDM_FITS)
		extend("LD_PRELOAD", library, ':', true);
	execvp(*argv, argv);
	fprintf(stderr, "rdmalloc: %s: %s\n", *argv, strerror(errno));
	return errno == ENOENT ? NOT_FOUND : CANNOT_RUN;
}

int rdm_run(int argc, char **argv)
{
	const char *report = NULL;
	bool json = false;
	int option;

	/* '+': what comes after the program's name is its own. */
	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1) {
		int status;

		if (option == 'h') {
			print_usage(stdout);
			return 0;
		}
		status = apply(option, &json, &report);
		if (status)
			return status;
	}
	if (optind == argc) {
		fputs("rdmalloc run: which program?\n", stderr);
		print_usage(stderr);
		return USAGE;
	}
	if (report || json)
		configure("report", json ? "json" : "1");
	if (report && *report)
		configure("report_file", report);
	return start(argv + optind);
}
