/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SIDETABLE_H
#define RDM_SIDETABLE_H

/*
 * A table that runs parallel to the reserve. Its addresses are claimed for all of it (claim.h), and
 * mapped up to a high-water mark, so that it costs neither addresses, memory nor commit charge
 * before it is used. Nobody may read beyond the mark. Never moves, never shrinks. The caller
 * serialises: all calls are made under the quiesce lock.
 */

#include <stddef.h>

struct rdm_sidetable {
	char *base;
	size_t bytes;
	size_t usable;
};

/* Claims its addresses. 0 or an errno value. */
int rdm_sidetable_claim(struct rdm_sidetable *table, size_t bytes);
/* Maps at least the first `bytes`, zeros at first. 0 or an errno value. */
int rdm_sidetable_cover(struct rdm_sidetable *table, size_t bytes);
/* When the whole claim is given up. */
void rdm_sidetable_unmap(struct rdm_sidetable *table);

#endif
