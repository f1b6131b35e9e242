/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

/*
 * One table of options for each command: what getopt_long() is given and what --help
 * says come from it, so that they cannot differ. --help itself is every command's, and
 * in no table. tests/command/help compares what is said here with the manual.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h> /* optind */

struct command_option {
	const char *name;     /* without its dashes; NULL ends a table */
	const char *argument; /* its name, in capitals, as in "FILE" or "WORD[,...]"; or NULL */
	const char *meaning;
	const char *(*word)(size_t i); /* what the argument may be; NULL after the last; or NULL */
	char key;                      /* what take() is given */
	bool is_letter;                /* -key means the same */
	bool may_lack;                 /* the argument may be left out */
	bool or_next;                  /* one may give this or the next, not both */
	bool alone;                    /* nothing else is done then */
};

struct exit_status {
	int status;
	const char *meaning; /* NULL ends a table */
};

struct command {
	const char *name;     /* "" is rdmalloc itself */
	const char *operands; /* what comes after the options, as in "[PID...]" */
	const char *about;
	const struct command_option *options;
	bool operand_ends;       /* options after the first operand are not ours */
	void (*more)(FILE *out); /* what --help says after the options; or NULL */
	const char *status;      /* the exit status besides those listed; or NULL */
	const struct exit_status *statuses;
};

enum { GO_ON = -1 };

/*
 * Calls take() for each option, with its argument or NULL; one of word()'s where the
 * argument is not a list of them. GO_ON: operands begin at
 * optind; else the command ends with this status: --help and what cannot be understood
 * have been answered, or take() returned it instead of GO_ON.
 */
int options_parse(const struct command *command, int argc, char **argv,
		  int (*take)(void *into, int key, const char *argument), void *into);

/* Says on stderr what is wrong and how it would be right; the exit status. */
__attribute__((format(printf, 2, 3))) int usage_error(const struct command *command,
						      const char *format, ...);

/* "  word  meaning" in a list that more() prints; both shells' completion reads these. */
void print_item(FILE *out, const char *word, const char *meaning);

#endif
