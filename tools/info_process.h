/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_INFO_PROCESS_H
#define TOOLS_INFO_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * rdmalloc info PID: which of our libraries a process has, how it is configured, what limits it,
 * and what it publishes, if it does. FINE; FINDING: it has none, or may not be looked at.
 */
int info_of_process(pid_t pid, bool json);

#endif
