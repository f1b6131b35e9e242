/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_OUTPUT_H
#define RDM_TOOLS_OUTPUT_H

/*
 * What the commands print, for people and for machines. One thread only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <jansson.h>

/* Exit statuses of the commands that report. */
enum { RDM_FINE = 0, RDM_FINDING = 1, RDM_USAGE = 2, RDM_UNTESTED = 77 };

enum rdm_colour { RDM_PLAIN, RDM_BOLD = 1, RDM_RED = 31, RDM_GREEN = 32, RDM_YELLOW = 33 };

/* Coloured where out is a terminal that has colours, and NO_COLOR is unset or empty. */
__attribute__((format(printf, 3, 4))) void rdm_print(FILE *out, enum rdm_colour colour,
						     const char *format, ...);

/* The cursor is at indent. Lines of 80 columns end at blanks; what has none is not torn. */
void rdm_wrap(FILE *out, const char *text, int indent);
void rdm_print_wrapped(const char *text, int indent); /* on stdout */

/* One line, or several where a person reads; takes the reference. -1: it could not be written. */
int rdm_print_json(json_t *value);

/* A bar on stderr, where that is a terminal, once more than two seconds have gone. */
struct rdm_bar {
	const char *what;
	struct timespec began;
	bool shown;
};
void rdm_bar_begin(struct rdm_bar *bar, const char *what);
void rdm_bar_step(struct rdm_bar *bar, size_t done, size_t of);
void rdm_bar_end(struct rdm_bar *bar);

#endif
