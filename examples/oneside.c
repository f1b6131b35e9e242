/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: oneside [--listen PORT | HOST PORT]
 *
 * One side has blocks and hands out a description of its pool's regions. The
 * other one reads and writes at random places of random blocks by RDMA, and
 * finds each key in the description. The owner takes no part, but forks all the
 * time and writes the first line of each block. At the end both agree on the
 * checksum of every block.
 */
#include <endian.h>
#include <err.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

#define BLOCKS 128
#define ACCESSES 500
#define LINE 64 /* bytes at the start of each block: the owner's */
#define LENGTH_MAX (128 << 10)

/* Of one block; big-endian when it goes over the wire. */
struct block {
	uint64_t address;
	uint64_t length;
};

static struct peer peer;

static uint64_t any(uint64_t below)
{
	static uint64_t state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

/* FNV-1a of what is not the owner's line */
static uint64_t checksum(const unsigned char *data, size_t length)
{
	uint64_t sum = 0xcbf29ce484222325;

	for (size_t i = LINE; i < length; i++)
		sum = (sum ^ data[i]) * 0x100000001b3;
	return sum;
}

static void hand_out(const struct block *block)
{
	struct block wire[BLOCKS];
	ssize_t size = rdm_regions_export(peer.pool, peer.rail, NULL, 0);
	void *description = size < 0 ? NULL : malloc((size_t)size);
	uint32_t wire_size;

	if (!description ||
	    rdm_regions_export(peer.pool, peer.rail, description, (size_t)size) != size)
		err(1, "rdm_regions_export");
	for (int i = 0; i < BLOCKS; i++) {
		wire[i].address = htobe64(block[i].address);
		wire[i].length = htobe64(block[i].length);
	}
	wire_size = htobe32((uint32_t)size);
	peer_send(&peer, &wire_size, sizeof(wire_size));
	peer_send(&peer, description, (size_t)size);
	peer_send(&peer, wire, sizeof(wire));
	free(description);
}

static bool has_said_something(void)
{
	struct pollfd fd = { .fd = peer.fd, .events = POLLIN };

	return poll(&fd, 1, 0) > 0;
}

static void fork_and_write(const struct block *block, unsigned round)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (!pid)
		_exit(0);
	for (int i = 0; i < BLOCKS; i++)
		memset((void *)(uintptr_t)block[i].address, (int)round, LINE);
	waitpid(pid, NULL, 0);
}

static void be_the_owner(void)
{
	struct block block[BLOCKS];
	unsigned forks = 0;
	uint64_t sum;

	for (int i = 0; i < BLOCKS; i++) {
		size_t length = LINE + 1 + any(LENGTH_MAX);
		unsigned char *data = rdm_calloc(peer.pool, 1, length);

		if (!data)
			exit(1);
		block[i] = (struct block){ (uintptr_t)data, length };
	}
	hand_out(block);
	while (!has_said_something())
		fork_and_write(block, forks++);
	for (int i = 0; i < BLOCKS; i++) {
		unsigned char *data = (unsigned char *)(uintptr_t)block[i].address;

		peer_receive(&peer, &sum, sizeof(sum));
		if (be64toh(sum) != checksum(data, block[i].length))
			errx(1, "block %d is not what the other side wrote", i);
		rdm_free(data);
	}
	printf("the owner: %d blocks have the right checksums, after %u forks\n", BLOCKS, forks);
	peer_meet(&peer);
}

struct description {
	unsigned char *bytes;
	size_t size;
};

static struct description receive_description(void)
{
	struct description description;
	uint32_t size, generation;

	peer_receive(&peer, &size, sizeof(size));
	description.size = be32toh(size);
	description.bytes = malloc(description.size);
	if (!description.bytes)
		err(1, "a description of %zu bytes", description.size);
	peer_receive(&peer, description.bytes, description.size);
	if (rdm_regions_check(description.bytes, description.size, &generation))
		err(1, "the description");
	printf("the visitor: a description of %zu bytes, generation %u\n", description.size,
	       generation);
	return description;
}

static void rdma(enum ibv_wr_opcode opcode, const struct description *description, void *here,
		 size_t length, uint64_t there)
{
	uint32_t rkey;

	if (rdm_regions_resolve(description->bytes, description->size, there, length, &rkey))
		err(1, "rdm_regions_resolve");
	peer_rdma(&peer, opcode, here, length, there, rkey);
}

/* Reads or writes a piece of the block; `copy` is what the block must be. */
static void visit(const struct description *description, const struct block *block,
		  unsigned char *copy, unsigned char *buffer)
{
	size_t at = LINE + any(block->length - LINE);
	size_t length = 1 + any(block->length - at);

	if (any(2)) {
		rdma(IBV_WR_RDMA_READ, description, buffer, length, block->address + at);
		if (memcmp(buffer, copy + at, length) != 0)
			errx(1, "%zu bytes at %zu: not what was written", length, at);
		return;
	}
	memset(buffer, (int)any(256), length);
	memcpy(copy + at, buffer, length);
	rdma(IBV_WR_RDMA_WRITE, description, buffer, length, block->address + at);
}

static void be_the_visitor(void)
{
	struct description description = receive_description();
	unsigned char *buffer = peer_malloc(&peer, LENGTH_MAX);
	unsigned char *copy[BLOCKS];
	struct block block[BLOCKS];

	peer_receive(&peer, block, sizeof(block));
	for (int i = 0; i < BLOCKS; i++) {
		block[i] = (struct block){ be64toh(block[i].address), be64toh(block[i].length) };
		copy[i] = calloc(1, block[i].length);
		if (!copy[i])
			err(1, "calloc");
	}
	for (int i = 0; i < ACCESSES; i++) {
		size_t which = any(BLOCKS);

		visit(&description, &block[which], copy[which], buffer);
	}
	for (int i = 0; i < BLOCKS; i++) {
		uint64_t sum = htobe64(checksum(copy[i], block[i].length));

		peer_send(&peer, &sum, sizeof(sum));
		free(copy[i]);
	}
	printf("the visitor: %d reads and writes at random places\n", ACCESSES);
	peer_meet(&peer);
	rdm_free(buffer);
	free(description.bytes);
}

int main(int argc, char **argv)
{
	peer_open(&peer, argc, argv);
	if (peer.side == 0)
		be_the_owner();
	else
		be_the_visitor();
	return peer_close(&peer);
}
