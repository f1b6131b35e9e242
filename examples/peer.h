/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef EXAMPLES_PEER_H
#define EXAMPLES_PEER_H

/*
 * Two sides of one program: a socket between them, and over the first RDMA
 * device a reliable connection and a pool each. Whatever fails ends the process.
 */

#include <rdmalloc.h>
#include <stddef.h>
#include <stdint.h>

#include "rc.h"

struct peer {
	int side; /* 0 and 1 */
	int fd;
	pid_t pid; /* of side 1, where side 0 started it; else 0 */
	struct rc_device device;
	struct rc_end end;
	rdm_pool *pool;
	int rail;
};

/*
 * PROGRAM               both sides: starts itself again
 * PROGRAM --listen PORT side 0
 * PROGRAM HOST PORT     side 1, on whatever machine
 * Without a device: prints a line and exits with 77.
 */
void peer_open(struct peer *peer, int argc, char **argv);
/* Returns what main() does: not 0 if the side that was started here failed. */
int peer_close(struct peer *peer);

/* Over the socket. */
void peer_send(const struct peer *peer, const void *data, size_t size);
void peer_receive(const struct peer *peer, void *data, size_t size);
/* Sends `mine` and receives as much. */
void peer_swap(const struct peer *peer, const void *mine, void *theirs, size_t size);
/* Goes on when the other side is here, too. */
void peer_meet(const struct peer *peer);

/* Over the device; here, from and to point into the pool. Each ends when all is done. */
void peer_rdma(const struct peer *peer, enum ibv_wr_opcode opcode, void *here, size_t length,
	       uint64_t there, uint32_t rkey);
/* The other side does the same at the same time. */
void peer_message(const struct peer *peer, void *from, void *to, size_t length);

void *peer_malloc(const struct peer *peer, size_t size);

#endif
