/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_LOG_H
#define RDM_LOG_H

#include <stdbool.h>

/*
 * One line on stderr per event, by write(2): no stdio stream, no lock, no
 * allocation, no cancellation point, so that it may be called from fork handlers
 * and under any lock.
 * errno survives. A line says what happened and what to do about it.
 */

enum rdm_log_level {
	RDM_LOG_SILENT,
	RDM_LOG_ERROR,
	RDM_LOG_WARN,
	RDM_LOG_INFO,
};

void rdm_log_set_level(enum rdm_log_level level);
/* Whether a line of that level is said: where it takes work to find out what it says. */
bool rdm_log_is_on(enum rdm_log_level level);

__attribute__((format(printf, 2, 3))) void rdm_log(enum rdm_log_level level, const char *format,
						   ...);

/*
 * Whether lines may go to that descriptor: it is what stderr was when the process started, or a
 * terminal, a pipe, or a file that is appended to; in the linked library also a file that has no
 * name. Programs close it, and what they open next has its number: no line gets into a file of
 * the program's. In a sandbox, where nobody may ask, as it was before.
 */
bool rdm_log_is_stderr(int fd);

/* For bugs of the caller that would corrupt the heap: the line is never silenced. */
__attribute__((format(printf, 1, 2), noreturn)) void rdm_die(const char *format, ...);

#endif
