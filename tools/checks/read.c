/* SPDX-License-Identifier: BSD-2-Clause */
#include "read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool file_line(char *text, size_t size, const char *path)
{
	FILE *file = fopen(path, "re");
	bool read = file && fgets(text, (int)size, file);

	if (file)
		fclose(file);
	text[read ? strcspn(text, "\n") : 0] = '\0';
	return read;
}

bool file_number(unsigned long long *number, const char *path)
{
	char text[64], *end;

	if (!file_line(text, sizeof(text), path))
		return false;
	*number = strtoull(text, &end, 10);
	return end > text;
}

bool file_choice(char *word, size_t size, const char *path)
{
	char text[256];
	char *open;

	if (!file_line(text, sizeof(text), path))
		return false;
	open = strchr(text, '[');
	if (!open)
		return false;
	snprintf(word, size, "%.*s", (int)strcspn(open + 1, "]"), open + 1);
	return true;
}

bool file_field(unsigned long long *number, const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	size_t length = strlen(name);
	bool found = false;
	char line[256];

	while (file && !found && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, length) && line[length] == ':') {
			*number = strtoull(line + length + 1, NULL, 10);
			found = true;
		}
	if (file)
		fclose(file);
	return found;
}

const char *bytes_text(unsigned long long bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	static char texts[4][32];
	static unsigned next;
	char *text = texts[next++ % 4];
	double value = (double)bytes;
	unsigned unit = 0;

	for (; value >= 1024 && unit < 6; unit++)
		value /= 1024;
	snprintf(text, sizeof(texts[0]), "%.4g %s", value, units[unit]);
	return text;
}
