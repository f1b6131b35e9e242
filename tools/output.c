/* SPDX-License-Identifier: BSD-2-Clause */
#include "output.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COLUMNS 80
#define BAR_WIDTH 40
#define BAR_AFTER_S 2

static bool has_colours(FILE *out)
{
	const char *term = getenv("TERM");
	const char *no_color = getenv("NO_COLOR");

	return isatty(fileno(out)) && term && *term && strcmp(term, "dumb") != 0 &&
	       !(no_color && *no_color);
}

void print_coloured(FILE *out, enum colour colour, const char *format, ...)
{
	bool coloured = colour != COLOUR_PLAIN && has_colours(out);
	va_list arguments;

	if (coloured)
		fprintf(out, "\033[%dm", colour);
	va_start(arguments, format);
	vfprintf(out, format, arguments);
	va_end(arguments);
	if (coloured)
		fputs("\033[m", out);
}

void clean_text(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

void wrap(FILE *out, const char *text, int indent)
{
	const int width = COLUMNS - indent;

	for (;;) {
		int length = (int)strlen(text);

		if (length > width) {
			length = width;
			while (length && text[length] != ' ')
				length--;
			if (!length)
				length = (int)strcspn(text, " ");
		}
		fprintf(out, "%.*s\n", length, text);
		text += length;
		text += strspn(text, " ");
		if (!*text)
			return;
		fprintf(out, "%*s", indent, "");
	}
}

void print_wrapped(const char *text, int indent)
{
	wrap(stdout, text, indent);
}

int output_json(json_t *value)
{
	size_t flags = isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
	int status = json_dumpf(value, stdout, flags);

	json_decref(value);
	if (!status && putchar('\n') != EOF && !fflush(stdout))
		return 0;
	/* Else main() says it. */
	if (!ferror(stdout))
		fputs("rdmalloc: no memory for JSON\n", stderr);
	return -1;
}

void bar_begin(struct bar *bar, const char *what)
{
	bar->what = what;
	bar->shown = false;
	clock_gettime(CLOCK_MONOTONIC, &bar->began);
}

void bar_step(struct bar *bar, size_t done, size_t of)
{
	struct timespec now;
	int filled = of ? (int)(done * BAR_WIDTH / of) : 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!isatty(STDERR_FILENO) || now.tv_sec - bar->began.tv_sec <= BAR_AFTER_S)
		return;
	bar->shown = true;
	fprintf(stderr, "\r%s [%.*s%*s] %zu/%zu", bar->what, filled,
		"########################################", BAR_WIDTH - filled, "", done, of);
}

void bar_end(struct bar *bar)
{
	if (bar->shown)
		fputs("\r\033[K", stderr);
}
