/* SPDX-License-Identifier: BSD-2-Clause */
#include "run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "output.h"
#include "preloadable.h"

/* As env(1) and nohup(1) have them. */
enum { CANNOT_PRELOAD = 125, CANNOT_RUN = 126, NOT_FOUND = 127 };

static const char *policy(size_t i)
{
	static const char *const words[] = { "registered", "copy", "hole", "zero", NULL };

	return words[i];
}

static const struct command_option options[] = {
	{ .name = "fork",
	  .key = 'f',
	  .argument = "POLICY",
	  .word = policy,
	  .meaning = "what a child finds in large blocks: registered is a copy of what is "
		     "registered, the rest as ever, and the default" },
	{ .name = "threshold",
	  .key = 't',
	  .argument = "N",
	  .meaning = "smaller blocks come from the program's own malloc (8K); 0: all are ours" },
	{ .name = "report",
	  .key = 'r',
	  .argument = "FILE",
	  .may_lack = true,
	  .meaning = "what was served and protected, at exit; %p in FILE is the process, %r its "
		     "rank" },
	{ .name = "json", .key = 'j', .meaning = "the report for machines" },
	{ .name = "conf",
	  .key = 'c',
	  .argument = "KEY:VALUE[,...]",
	  .meaning = "any other setting, see rdmalloc(7)" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ USAGE, "wrong usage" },
	{ CANNOT_PRELOAD, "nothing can be preloaded" },
	{ CANNOT_RUN, "the program is there and cannot be run" },
	{ NOT_FOUND, "there is no such program" },
	{ 0, NULL },
};

static void say_where(FILE *out)
{
	fputs("\nUnder mpirun it comes last: mpirun -n 4 rdmalloc run PROGRAM.\n", out);
}

static const struct command command = {
	.name = "run",
	.operands = "[--] PROGRAM [ARGUMENT...]",
	.about =
		"Runs a program, and what it starts, with large blocks from memory that is safe to "
		"register for RDMA when the program forks.",
	.options = options,
	.operand_ends = true,
	.more = say_where,
	.status = "the program's, or",
	.statuses = statuses,
};

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

static bool is_size(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && (!text[digits] || (strchr("KMGT", text[digits]) && !text[digits + 1]));
}

struct wanted {
	const char *report; /* "" is stderr; NULL: none */
	bool json;
};

static int take(void *into, int key, const char *argument)
{
	struct wanted *wanted = into;

	switch (key) {
	case 'f':
		configure("preload_fork", argument);
		break;
	case 't':
		if (!is_size(argument))
			return usage_error(&command, "--threshold is bytes, as in 64K, not '%s'",
					   argument);
		configure("threshold", argument);
		break;
	case 'r':
		wanted->report = argument ? argument : "";
		if (strchr(wanted->report, ','))
			return usage_error(&command,
					   "there can be no comma in the report's file '%s'",
					   wanted->report);
		break;
	case 'j':
		wanted->json = true;
		break;
	default:
		extend("RDMALLOC_CONF", argument, ',', false);
		break;
	}
	return GO_ON;
}

/* Beside an auditor the loader has less room for a preload's thread-local variables than this one has. */
static void make_room(void)
{
	const char *audit = getenv("LD_AUDIT");

	if (audit && *audit)
		extend("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=8192", ':', false);
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
	enum fit fit;

	if (!preload_find(library, sizeof(library)))
		return CANNOT_PRELOAD;
	if (!find_program(*argv, program, sizeof(program))) {
		fprintf(stderr, "rdmalloc: there is no program %s\n", *argv);
		return NOT_FOUND;
	}
	fit = preload_fits(program, library);
	if (fit == FITS_NOT)
		return CANNOT_PRELOAD;
	if (strpbrk(library, " :")) {
		fprintf(stderr,
			"rdmalloc: %s cannot be preloaded: its path has a blank or a colon\n",
			library);
		return CANNOT_PRELOAD;
	}
	if (fit == FITS) {
		extend("LD_PRELOAD", library, ':', true);
		make_room();
	}
	execvp(*argv, argv);
	fprintf(stderr, "rdmalloc: %s: %s\n", *argv, strerror(errno));
	return errno == ENOENT ? NOT_FOUND : CANNOT_RUN;
}

int command_run(int argc, char **argv)
{
	struct wanted wanted = { NULL, false };
	int status = options_parse(&command, argc, argv, take, &wanted);

	if (status != GO_ON)
		return status;
	if (optind == argc)
		return usage_error(&command, "which program?");
	if (wanted.report || wanted.json)
		configure("report", wanted.json ? "json" : "1");
	if (wanted.report && *wanted.report)
		configure("report_file", wanted.report);
	return start(argv + optind);
}
