/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

/*
 * What the commands print, for people and for machines. One thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <jansson.h>

/* Exit statuses of the commands that report. */
enum { FINE = 0, FINDING = 1, USAGE = 2, UNTESTED = 77 };

enum colour {
	COLOUR_PLAIN,
	COLOUR_BOLD = 1,
	COLOUR_RED = 31,
	COLOUR_GREEN = 32,
	COLOUR_YELLOW = 33
};

/* Coloured where out is a terminal that has colours, and NO_COLOR is unset or empty. */
__attribute__((format(printf, 3, 4))) void print_coloured(FILE *out, enum colour colour,
							  const char *format, ...);

/* What others have named may be a terminal's orders, maybe root's: only plain characters stay. */
void clean_text(char *text, size_t size);

/* The cursor is at indent. Lines of 80 columns end at blanks; what has none is not torn. */
void wrap(FILE *out, const char *text, int indent);
void print_wrapped(const char *text, int indent); /* on stdout */

/* One line, or several where a person reads; takes the reference. -1: it could not be written. */
int output_json(json_t *value);

/* A bar on stderr, where that is a terminal, once more than two seconds have gone. */
struct bar {
	const char *what;
	struct timespec began;
	bool shown;
};
void bar_begin(struct bar *bar, const char *what);
void bar_step(struct bar *bar, size_t done, size_t of);
void bar_end(struct bar *bar);

#endif
