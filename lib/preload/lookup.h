/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_LOOKUP_H
#define RDM_PRELOAD_LOOKUP_H

/*
 * Who else has a function of ours, read from the loader's list of objects and their tables of
 * symbols. dlsym() may allocate, frees the text of the last error, forgets it for the program,
 * and another library may stand in its place: so malloc cannot be built on it.
 *
 * Any thread may call, at any time, from a signal handler and before constructors, too: nothing
 * is allocated, no lock is taken. What was there at the start stays, and is looked at this way;
 * what was opened since may go, and is left to the loader.
 */

#include <stdbool.h>

/* What comes after us of that name, or NULL. Where a program has none at its start, dlsym() is asked. */
void *rdm_lookup_next(const char *name);

/* The same, but only of what was there at the start. */
void *rdm_lookup_next_at_start(const char *name);

/*
 * What the library around an address of code has of that name in its own scope, which is
 * not everybody's (RTLD_LOCAL), or NULL. This one allocates.
 */
void *rdm_lookup_for(const char *name, const void *code);

/* Whether code is in this library. */
bool rdm_lookup_is_ours(const void *code);

/* Whether code is the C library's or the loader's; until constructors begin none is. */
bool rdm_lookup_is_libcs(const void *code);

/* The file that stands before us and has that name, "" for the program; NULL: none. */
const char *rdm_lookup_before(const char *name);

/* Whether the program or a library that was there at its start needs that name from another. */
bool rdm_lookup_is_wanted(const char *name);

#endif
