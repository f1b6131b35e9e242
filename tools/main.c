/* SPDX-License-Identifier: BSD-2-Clause */
/* The command: one word says what is to be done, the rest is for that. */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "doctor.h"
#include "forktest.h"
#include "info.h"
#include "map.h"
#include "run.h"
#include "stat.h"
#include "top.h"

enum { USAGE = 2 };

static const struct {
	const char *name;
	int (*call)(int argc, char **argv);
	const char *meaning;
} commands[] = {
	{ "doctor", rdm_doctor, "is this machine fit for RDMA in programs that fork?" },
	{ "forktest", rdm_forktest, "show which memory loses data on this kernel" },
	{ "info", rdm_info, "what this build is, and what RDMALLOC_CONF can set" },
	{ "map", rdm_map, "a picture of a process's heap" },
	{ "run", rdm_run, "run a program with large blocks from fork-safe memory" },
	{ "stat", rdm_stat, "the figures of a process" },
	{ "top", rdm_top, "processes and their pools, live" },
};

static void print_usage(FILE *out)
{
	fputs("Usage: rdmalloc COMMAND [ARGUMENT...]\n\n", out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].meaning);
	fputs("\n  rdmalloc COMMAND --help says more, and so does rdmalloc(1).\n", out);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
		print_usage(stdout);
		return 0;
	}
	if (!strcmp(name, "--version")) {
		puts("rdmalloc " PACKAGE_VERSION);
		return 0;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(name, commands[i].name))
			return commands[i].call(argc - 1, argv + 1);
	if (*name)
		fprintf(stderr, "rdmalloc: there is no command '%s'\n", name);
	print_usage(stderr);
	return USAGE;
}
