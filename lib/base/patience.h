/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PATIENCE_H
#define RDM_PATIENCE_H

/*
 * How often something is asked for that could not be had: where there is no memory each time
 * is a system call, on a way that is taken millions of times a second. Zero is one that asks.
 * Whoever owns it guards it.
 */

#include <stdbool.h>

#define RDM_PATIENCE_MAX 4095

struct rdm_patience {
	unsigned left; /* times that it is not asked for */
	unsigned next; /* how many after the next vain try */
};

static inline bool rdm_patience_asks(struct rdm_patience *patience)
{
	if (!patience->left)
		return true;
	patience->left--;
	return false;
}

static inline void rdm_patience_learns(struct rdm_patience *patience, bool had)
{
	if (had)
		patience->next = 0;
	else if (patience->next < RDM_PATIENCE_MAX)
		patience->next = 2 * patience->next + 1;
	patience->left = patience->next;
}

#endif
