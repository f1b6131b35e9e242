/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_FUSE_H
#define RDM_PROBE_FUSE_H

/*
 * One file whose reads and writes wait until we answer them. The file system is mounted
 * nowhere, and goes with its descriptors. One thread, and one errand at a time.
 *
 * To close the file may take until a transfer is over. So nobody has it open but an
 * errand: otherwise a child that exits meanwhile would wait for us, and we for it.
 */

#include <pthread.h>

#include "probe.h"

#define FUSE_FILE_BYTES ((size_t)1 << 16)

struct fuse_file {
	int dev;              /* where requests come from */
	int mount;            /* its root is the file */
	unsigned char *image; /* what is in it, FUSE_FILE_BYTES */
};

/* It stays until the process ends. 0 or -1 */
int fuse_file_open(struct fuse_file *file, struct probe_outcome *out);

/*
 * Calls that do not return before requests are answered, in a thread with descriptors of
 * its own: fd (-1: none) and the file's.
 */
struct fuse_errand {
	struct fuse_file *file;
	int (*run)(struct fuse_errand *errand); /* 0 or a positive errno value */
	void *context;
	int fd;
	_Atomic bool ready; /* set by run: the next request is the one to be kept waiting */
	int done;           /* readable when it is over */
	int error;          /* what run returned, or why it could not be run */
	pthread_t thread;
};

/* Within an errand: opens the file for both, direct_io. -1 with errno. */
int fuse_file_reopen(const struct fuse_file *file);

/* Answers until it is ready and a request waits, or all is over. 1: it is over. */
int fuse_errand_begin(struct fuse_errand *errand);
/* Answers until it is over. What run returned. */
int fuse_errand_end(struct fuse_errand *errand);

#endif
