/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_PROC_H
#define TOOLS_PROC_H

/*
 * Files of other processes in /proc. What is in some of them is up to the process, and so is how
 * long they are: long lines are cut, and after 64 MiB it is enough.
 */

#include <stdbool.h>
#include <sys/types.h>

/* Calls for each line, without its end; false: the file may not be read. */
bool proc_each_line(pid_t pid, const char *name, int separator,
		    void (*each)(void *context, const char *line), void *context);

#endif
