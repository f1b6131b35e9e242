/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_WORKERS_H
#define RDM_WORKERS_H

/*
 * Threads that help one that is inside the quiesce lock, and are gone before it
 * leaves: fork() waits for them as it does for their caller. They count as
 * inside, too. No signal is ever delivered to one, and memory that one touches
 * first comes from the caller's NUMA node.
 */

#include <pthread.h>
#include <stddef.h>

#define RDM_WORKERS_MAX 64

struct rdm_workers {
	void (*work)(void *context);
	void *context;
	pthread_t thread[RDM_WORKERS_MAX];
	unsigned count;
	int node; /* -1: any */
};

/* A thread of its own, to which no signal is ever delivered, with a stack of so many bytes if
 * that is enough. 0 or an errno value. */
int rdm_workers_detached(void *(*start)(void *), size_t stack);

/* The node that serves the calling thread, -1 where it has a policy of its own. */
int rdm_workers_node(void);
/* What the calling thread touches first comes from that node; -1: leaves it as it is. */
void rdm_workers_prefer(int node);

/* CPUs that the calling thread may run on. */
unsigned rdm_workers_cpus(void);

/* Starts `wanted` threads, or as many as can be had: the caller does the rest itself. */
void rdm_workers_start(struct rdm_workers *workers, unsigned wanted, void (*work)(void *context),
		       void *context);
/* Waits until each has returned. */
void rdm_workers_join(struct rdm_workers *workers);

#endif
