/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_START_H
#define TEST_START_H

/* For programs that test the preload: they start themselves again under it. */

#include "support.h"

/* Skips under a sanitizer. test: the library in which steps can be dropped. conf may be NULL. */
void t_preload(char **argv, bool test, const char *conf);

/*
 * The program once more, with one argument and this RDMALLOC_CONF. Whether it was skipped; one
 * that fails ends this one.
 */
bool t_run(char **argv, const char *what, const char *conf);

/* As a driver does that has libibverbs: this is going to be pinned, it is not any more. */
void t_dontfork(void *addr, size_t length);
void t_dofork(void *addr, size_t length);

#endif
