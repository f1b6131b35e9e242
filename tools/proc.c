/* SPDX-License-Identifier: BSD-2-Clause */
#include "proc.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 8192
#define TOTAL_MAX ((size_t)64 << 20)

/* False: there is no more, or it is more than anybody needs. */
static bool read_line(FILE *file, int separator, char line[LINE_BYTES], size_t *total)
{
	size_t used = 0;
	int c = getc(file);

	if (c == EOF)
		return false;
	for (; c != EOF && c != separator && ++*total < TOTAL_MAX; c = getc(file))
		if (used + 1 < LINE_BYTES)
			line[used++] = (char)c;
	line[used] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return *total < TOTAL_MAX;
}

bool proc_each_line(pid_t pid, const char *name, int separator,
		    void (*each)(void *context, const char *line), void *context)
{
	char path[64], line[LINE_BYTES];
	size_t total = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (read_line(file, separator, line, &total))
		each(context, line);
	fclose(file);
	return true;
}
