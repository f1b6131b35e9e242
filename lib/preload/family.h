/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_FAMILY_H
#define RDM_PRELOAD_FAMILY_H

/*
 * The malloc family, for each set of names that it has (entries.list): what is large is
 * the pool's, whatever name asks for it, and what is not goes on to the next of that set.
 * Any thread may call; what locks they take the pool's functions say.
 */

#include <stddef.h>

#include "preload/next.h"

void *rdm_family_malloc(const struct rdm_next *next, size_t size);
void *rdm_family_calloc(const struct rdm_next *next, size_t nmemb, size_t size);
void *rdm_family_realloc(const struct rdm_next *next, void *ptr, size_t size);
void rdm_family_free(const struct rdm_next *next, void *ptr);
void *rdm_family_memalign(const struct rdm_next *next, size_t alignment, size_t size);
int rdm_family_posix_memalign(const struct rdm_next *next, void **memptr, size_t alignment,
			      size_t size);
void *rdm_family_valloc(const struct rdm_next *next, size_t size);
void *rdm_family_pvalloc(const struct rdm_next *next, size_t size);
size_t rdm_family_usable_size(const struct rdm_next *next, void *ptr);

#endif
