/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_PRELOAD_H
#define RDM_TOOLS_PRELOAD_H

/* Where librdmalloc-preload.so is, and whether a program can have it. */

#include <stdbool.h>
#include <stddef.h>

/* The first of RDMALLOC_PRELOAD, beside this program (a build tree), and where it was installed. */
bool rdm_preload_find(char *path, size_t size);

enum rdm_fit {
	RDM_FITS,
	RDM_FITS_NOT,    /* the loader would ignore it, or the program would not start */
	RDM_FITS_BESIDE, /* the program must be left alone, for its malloc must be its own */
};

/* Whether that program can have the library. If not, one line on stderr says why. */
enum rdm_fit rdm_preload_fits(const char *program, const char *library);

#endif
