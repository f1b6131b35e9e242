/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_READ_H
#define TOOLS_READ_H

/* What small files of /proc and /sys say. */

#include <stdbool.h>
#include <stddef.h>

/* The first line, without its end. False: it cannot be read, and text is empty. */
bool file_line(char *text, size_t size, const char *path);
bool file_number(unsigned long long *number, const char *path);
/* "[madvise]" of "always [madvise] never". */
bool file_choice(char *word, size_t size, const char *path);
/* The number after "name:" in a file of such lines. */
bool file_field(unsigned long long *number, const char *path, const char *name);

/* 4194304 to "4 MiB". A few of them can be in use at a time. */
const char *bytes_text(unsigned long long bytes);

/*
 * Calls each for this process's cgroup and those above it, as far as they can be seen, of
 * either version. False: that controller is not in use here.
 */
bool each_cgroup(const char *controller, void (*each)(const char *directory, void *context),
		 void *context);

#endif
