/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FOREIGN_MEMORY_H
#define RDM_FOREIGN_MEMORY_H

/*
 * What kind of memory a program has brought: asked of /proc/self/maps. It may allocate, so no
 * lock but the quiesce lock may be held.
 */

#include <stddef.h>

struct rdm_foreign_memory {
	unsigned unsafe; /* enum rdm_unsafe, why a fork may part the device and the process */
	char *kept;      /* whole pages of private memory that children must not inherit */
	size_t kept_length;
};

/* 0 or an errno value, with a line: EFAULT, it is not mapped; EACCES, that cannot be read. */
int rdm_foreign_memory_look(const char *caller, void *base, size_t length,
			    struct rdm_foreign_memory *memory);
/* The reason, in words. */
const char *rdm_foreign_memory_why(unsigned unsafe);

#endif
