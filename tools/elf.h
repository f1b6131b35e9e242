/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_ELF_H
#define RDM_TOOLS_ELF_H

/* What the head of a program's file says. */

#include <stdbool.h>
#include <stddef.h>

struct rdm_elf {
	bool is_elf;
	bool is_script;
	char interpreter[256]; /* of a script */
	unsigned class;        /* ELFCLASS32, ELFCLASS64 */
	unsigned machine;
	bool is_dynamic;       /* the loader has a part in it */
	const char *sanitizer; /* that it was built with, or NULL */
};

/* 0, or -1 with errno. */
int rdm_elf_read(const char *path, struct rdm_elf *elf);

/* "x86-64" */
const char *rdm_elf_machine_name(unsigned machine);

#endif
