/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SIDETABLE_H
#define RDM_SIDETABLE_H

/*
 * A table that runs parallel to the reserve: mapped once for all of it, zeros to
 * read, to be written up to a high-water mark, so that it costs neither memory
 * nor commit charge before it is used (vm.overcommit_memory=2 counts writable
 * memory only). Never
 * moves, never shrinks. The caller serialises: all calls are made under the
 * quiesce lock.
 */

#include <stddef.h>

struct rdm_sidetable {
	char *base;
	size_t bytes;
	size_t usable;
};

/* 0 or an errno value. */
int rdm_sidetable_map(struct rdm_sidetable *table, size_t bytes);
/* As many of one size, in one mapping as long as nothing is covered. */
int rdm_sidetable_map_array(struct rdm_sidetable table[], size_t count, size_t bytes);
/* Makes the first `bytes` writable. 0 or an errno value. */
int rdm_sidetable_cover(struct rdm_sidetable *table, size_t bytes);
void rdm_sidetable_unmap(struct rdm_sidetable *table);

#endif
