/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_INTERNAL_H
#define RDM_PROBE_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "probe.h"

size_t probe_page(void);

/* Every page gets a byte of its own, other ones for each seed, never 0. */
void probe_fill(unsigned char *addr, size_t length, unsigned seed);
/* Pages that differ; notes which. */
size_t probe_differ(struct probe_outcome *out, const unsigned char *a, const unsigned char *b,
		    size_t length);
unsigned probe_next_seed(void);

/* A descriptor that faults of this process may be sent to, or -1 with errno. */
int probe_userfaultfd(void);

/* The loop device of probe_loop_reserve(), or -1. open: a descriptor; configure: 0 or errno. */
int probe_loop_reserved(void);
int probe_loop_open(int number);
int probe_loop_configure(int loop, int file);

/* Calls it in a network namespace without anybody else. What it returned, or errno. */
int probe_in_own_network(int (*open_sockets)(void *argument), void *argument);

/* A child and a socket to it. Each side sends a byte to let the other go on. */
struct probe_child {
	pid_t pid;
	int fd;
};

/* As fork(): 1 in the parent, 0 in the child, -1. The child's end is child->fd there. */
int probe_child_fork(struct probe_child *child, const struct probe_child *elder, unsigned elders);
void probe_tell(int fd, unsigned char byte);
/* The byte, or -1: the other side is gone. */
int probe_hear(int fd);
/* Waits for its end. */
void probe_child_reap(struct probe_child *child);

struct probe_sibling {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t forked;
	unsigned forks;
	unsigned enough;
	int error;
	bool stop;
};

/* A hazard under way. */
struct probe_strike {
	const struct probe_hazard *hazard;
	struct probe_child *child;
	unsigned children;
	struct probe_sibling *sibling;
};

int probe_strike_begin(struct probe_strike *strike, const struct probe_hazard *hazard,
		       struct probe_outcome *out);
int probe_strike_now(struct probe_strike *strike, const struct probe_buffer *buffer, size_t n,
		     struct probe_outcome *out);
/* 1: forks of the sibling's that the hazard asks for are still to come, 0, or -1. */
int probe_strike_goes_on(struct probe_strike *strike, struct probe_outcome *out);
void probe_strike_calm(struct probe_strike *strike);
void probe_strike_end(struct probe_strike *strike);

#endif
