/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_MAGAZINE_H
#define RDM_MAGAZINE_H

/*
 * A magazine: so many free blocks of one class, which change hands as a whole. While a
 * thread's cache has it loaded it is that thread's, else its depot's.
 */

#include <stddef.h>

#define RDM_MAGAZINE_BLOCKS 254 /* 2 KiB in all */

struct rdm_magazine {
	struct rdm_magazine *next;
	size_t count; /* of blocks, while no thread has it loaded */
	void *blocks[RDM_MAGAZINE_BLOCKS];
};

#endif
