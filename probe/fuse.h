/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_FUSE_H
#define RDM_PROBE_FUSE_H

/*
 * One file whose reads and writes wait until we answer them. The file system is mounted
 * nowhere, and goes with its descriptors. One thread, and one errand at a time.
 */

#include <pthread.h>

#include "probe.h"

#define FUSE_FILE_BYTES ((size_t)1 << 16)

struct fuse_file {
	int dev;              /* where requests come from */
	int file;             /* open for both, direct_io */
	unsigned char *image; /* what is in it, FUSE_FILE_BYTES */
};

int fuse_file_open(struct fuse_file *file, struct probe_outcome *out);
void fuse_file_close(struct fuse_file *file);

/* A call that does not return before requests are answered, in a thread of its own. */
struct fuse_errand {
	struct fuse_file *file;
	int (*run)(struct fuse_errand *errand); /* 0 or a positive errno value */
	void *context;
	int fd;       /* the one that it needs */
	bool private; /* run opens nothing that is to stay open */
	int done;     /* readable when it is over */
	int error;    /* what run returned, or why it could not be run */
	pthread_t thread;
};

/* Returns when a request waits, or all is over. 1: it is over. */
int fuse_errand_begin(struct fuse_errand *errand);
/* Answers until it is over. What run returned. */
int fuse_errand_end(struct fuse_errand *errand);

#endif
