/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_PROGRAM_H
#define TOOLS_PROGRAM_H

/* What the head of a program's file says. */

#include <stdbool.h>
#include <stddef.h>

struct program {
	bool is_elf;
	bool is_script;
	char interpreter[256]; /* of a script */
	unsigned class;        /* ELFCLASS32, ELFCLASS64 */
	unsigned machine;
	bool is_dynamic;       /* the loader has a part in it */
	const char *sanitizer; /* that it was built with, or NULL */
};

/* 0, or -1 with errno. */
int program_read(const char *path, struct program *elf);

/* "x86-64" */
const char *machine_name(unsigned machine);

#endif
