/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_NEXT_H
#define RDM_PRELOAD_NEXT_H

/*
 * The malloc that would be there without us: of the next library that has one. A library
 * has malloc's functions under other names, too; each set of names goes on to the next of that
 * set, as it would without us.
 *
 * Any thread may call; no locks.
 */

#include <stddef.h>

struct rdm_next {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *ptr, size_t size);
	void (*free)(void *ptr);
	void *(*memalign)(size_t alignment, size_t size);
	size_t (*malloc_usable_size)(void *ptr);
};

/* Always callable: what is not known yet is looked up by the call. */
extern struct rdm_next rdm_next __attribute__((visibility("hidden")));

/* By glibc's reserved names, and by tcmalloc's; where there is no library that has them, rdm_next. */
const struct rdm_next *rdm_next_libc(void);
const struct rdm_next *rdm_next_tcmalloc(void);

#endif
