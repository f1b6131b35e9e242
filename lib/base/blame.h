/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_BLAME_H
#define RDM_BLAME_H

/*
 * Lines that say why memory cannot be had, and which limit to raise. The one place that knows:
 * errno says little (ENOMEM is five limits), so limits are compared with what is used, and only
 * one that is in the way is named; what cannot be read is not. Asks the kernel only when the line
 * is wanted; no lock, no allocation, no cancellation point.
 */

#include <stddef.h>

#include "base/log.h"

/* What a system call or a registrar wanted that has failed. */
enum rdm_want_flags {
	RDM_WANT_ADDRESSES = 1, /* so many bytes more of them */
	RDM_WANT_MEMORY = 2,    /* so many bytes more that are charged for */
	RDM_WANT_MAPPINGS = 4,  /* one or two more, or another in the place of one */
	RDM_WANT_PINS = 8,      /* so many bytes more that stay where they are */
};

struct rdm_failure {
	int error; /* errno */
	unsigned wanted;
	size_t bytes;
	const char *otherwise; /* what else to look at, where no limit is in the way; or NULL */
};

/* The line, what errno means, and why it is so. */
__attribute__((format(printf, 3, 4))) void
rdm_blame(enum rdm_log_level level, const struct rdm_failure *failure, const char *format, ...);

/* As in the line: "; RLIMIT_AS ...", or empty. */
struct rdm_blame_text {
	char at[160];
};
void rdm_blame_find(const struct rdm_failure *failure, struct rdm_blame_text *text);

#endif
