/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_NEXT_H
#define RDM_PRELOAD_NEXT_H

/*
 * The malloc that would be there without us: of the next library that has one.
 * dlsym() may itself allocate before it has an answer, so there is a small store
 * for that time, which gives nothing back.
 *
 * Any thread may call; no locks.
 */

#include <stdbool.h>
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

/* Of any block of the next malloc's, and of an early one. */
size_t rdm_next_usable_size(void *ptr);

/* Whether the block is from the time before the next malloc was known. */
bool rdm_next_is_early(const void *ptr);

#endif
