/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_PRELOAD_H
#define RDM_TOOLS_PRELOAD_H

/* Where librdmalloc-preload.so is, and whether a program can have it. */

#include <stdbool.h>
#include <stddef.h>

/* The first of RDMALLOC_PRELOAD, beside this program (a build tree), and where it was installed. */
bool rdm_preload_find(char *path, size_t size);

/*
 * Whether the loader will take the library into that program. If not, or if it would ignore
 * it, one line on stderr says why and what to do.
 */
bool rdm_preload_fits(const char *program, const char *library);

#endif
