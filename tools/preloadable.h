/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_PRELOADABLE_H
#define TOOLS_PRELOADABLE_H

/* Where librdmalloc-preload.so is, and whether a program can have it. */

#include <stdbool.h>
#include <stddef.h>

/* The first of RDMALLOC_PRELOAD, beside this program (a build tree), and where it was installed. */
bool preload_find(char *path, size_t size);

enum fit {
	FITS,
	FITS_NOT,    /* the loader would ignore it, or the program would not start */
	FITS_BESIDE, /* the program must be left alone, for its malloc must be its own */
};

/* Whether that program can have the library. If not, one line on stderr says why. */
enum fit preload_fits(const char *program, const char *library);

#endif
