/* SPDX-License-Identifier: BSD-2-Clause */
/* The command: one word says what is to be done, the rest is for that. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "doctor.h"
#include "forktest.h"
#include "info.h"
#include "map.h"
#include "options.h"
#include "output.h"
#include "run.h"
#include "stat.h"
#include "top.h"

static const struct {
	const char *name;
	int (*call)(int argc, char **argv);
	const char *meaning;
} commands[] = {
	{ "doctor", command_doctor, "is this machine fit for RDMA in programs that fork?" },
	{ "forktest", command_forktest, "show which memory loses data on this kernel" },
	{ "info", command_info, "what this build is, and what RDMALLOC_CONF can set" },
	{ "map", command_map, "a picture of a process's heap" },
	{ "run", command_run, "run a program with large blocks from fork-safe memory" },
	{ "stat", command_stat, "the figures of a process" },
	{ "top", command_top, "processes and their pools, live" },
};

static void list_commands(FILE *out)
{
	fputs("\nCommands:\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		print_item(out, commands[i].name, commands[i].meaning);
	fputs("\nrdmalloc COMMAND --help says more, and so does rdmalloc-COMMAND(1).\n", out);
}

static const struct command_option options[] = {
	{ .name = "version", .key = 'v', .alone = true, .meaning = "which one this is" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "--help or --version was answered" },
	{ FINDING, "what was to be printed could not be written, be it a command's" },
	{ USAGE, "wrong usage" },
	{ 0, NULL },
};

static const struct command self = {
	.name = "",
	.operands = "COMMAND [ARGUMENT...]",
	.about = "Memory that is safe to register for RDMA in programs that fork.",
	.options = options,
	.operand_ends = true,
	.more = list_commands,
	.status = "the command's, or",
	.statuses = statuses,
};

static int take(void *into, int key, const char *argument)
{
	(void)into, (void)key, (void)argument;
	puts("rdmalloc " PACKAGE_VERSION);
	return FINE;
}

static int call(int argc, char **argv)
{
	int status = options_parse(&self, argc, argv, take, NULL);
	int at = optind;

	if (status != GO_ON)
		return status;
	if (at == argc)
		return usage_error(&self, "which command?");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[at], commands[i].name))
			return commands[i].call(argc - at, argv + at);
	return usage_error(&self, "there is no command '%s'", argv[at]);
}

int main(int argc, char **argv)
{
	int status = call(argc, argv);

	if (!fflush(stdout) && !ferror(stdout))
		return status;
	/* Half of a report must not pass for all of it. */
	fprintf(stderr, "rdmalloc: what was to be printed was not: %s\n", strerror(errno));
	return status == FINE ? FINDING : status;
}
