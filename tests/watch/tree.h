/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_TREE_H
#define TEST_TREE_H

/* What this process has started, and what they have, as /proc shows it. */

#include <stddef.h>
#include <sys/types.h>

struct tree_task {
	pid_t pid, thread; /* a process as a whole has no thread */
	pid_t parent;
	char state;
	char name[32];
	double cpu; /* seconds, with those of children that it has waited for */
	int ours;
};

/* Finds them all. */
void tree_find(void);
/* CPU time of those that were found, and of those that this process has waited for. */
double tree_cpu(void);
/* Calls it for each thread of those that were found. */
void tree_each(void (*call)(const struct tree_task *thread, void *arg), void *arg);
void tree_kill(int signal);
/* Who they are, what state they are in, and where in the kernel they wait. */
const char *tree_names(void);

#endif
