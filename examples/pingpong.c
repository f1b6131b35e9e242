/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: pingpong [--listen PORT | HOST PORT]
 *
 * Two processes send, write and read over the first RDMA device, on one machine
 * or on two. All buffers are a pool's, and in every round a child of fork()
 * lives: on older kernels that is when a device loses sight of malloc's memory.
 */
#include <endian.h>
#include <err.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

#define ROUNDS 50
#define LENGTH_MAX (256 << 10)

static struct peer peer;

/* Where a side's memory is for the other; big-endian. */
struct offer {
	uint64_t address;
	uint32_t rkey;
	uint32_t reserved;
};

static unsigned char any_byte(size_t i, int side, unsigned what)
{
	return (unsigned char)((i * 7 + i / 251) ^ (2 * what + (unsigned)side));
}

static void fill(unsigned char *block, size_t length, unsigned what)
{
	for (size_t i = 0; i < length; i++)
		block[i] = any_byte(i, peer.side, what);
}

static void verify(const unsigned char *block, size_t length, unsigned what, const char *how)
{
	for (size_t i = 0; i < length; i++)
		if (block[i] != any_byte(i, !peer.side, what))
			errx(1, "%s: byte %zu of %zu is not what the other side wrote", how, i,
			     length);
}

static struct offer swap_offers(const void *block)
{
	struct offer mine = { 0 }, theirs;
	struct rdm_key key;

	if (rdm_key(block, peer.rail, &key))
		err(1, "rdm_key");
	mine.address = htobe64((uintptr_t)block);
	mine.rkey = htobe32(key.rkey);
	peer_swap(&peer, &mine, &theirs, sizeof(mine));
	return (struct offer){ be64toh(theirs.address), be32toh(theirs.rkey), 0 };
}

static void send_and_receive(unsigned char *one, unsigned char *two, size_t length, unsigned what)
{
	fill(one, length, what);
	peer_message(&peer, one, two, length);
	verify(two, length, what, "receive");
}

/* The other side writes into two. */
static void write_there(unsigned char *one, unsigned char *two, size_t length, unsigned what)
{
	const struct offer there = swap_offers(two);

	fill(one, length, what);
	peer_rdma(&peer, IBV_WR_RDMA_WRITE, one, length, there.address, there.rkey);
	peer_meet(&peer);
	verify(two, length, what, "RDMA write");
}

/* The other side reads one. */
static void read_there(unsigned char *one, unsigned char *two, size_t length, unsigned what)
{
	struct offer there;

	fill(one, length, what);
	there = swap_offers(one);
	peer_rdma(&peer, IBV_WR_RDMA_READ, two, length, there.address, there.rkey);
	verify(two, length, what, "RDMA read");
	peer_meet(&peer);
}

/* A child that lives until the pipe ends; every other one then runs another program. */
static pid_t have_child(unsigned round, int *pipe_end)
{
	int fd[2];
	pid_t pid;
	char byte;

	if (pipe(fd) || (pid = fork()) < 0)
		err(1, "fork");
	if (pid) {
		close(fd[0]);
		*pipe_end = fd[1];
		return pid;
	}
	close(fd[1]);
	if (read(fd[0], &byte, 1) == 0 && round % 2)
		execlp("true", "true", NULL);
	_exit(0);
}

static void play(unsigned round)
{
	size_t length = 1 + round * round * 1009 % LENGTH_MAX;
	unsigned char *one = peer_malloc(&peer, length);
	unsigned char *two = peer_malloc(&peer, length);
	int pipe_end;
	pid_t child = have_child(round, &pipe_end);

	send_and_receive(one, two, length, 3 * round);
	write_there(one, two, length, 3 * round + 1);
	read_there(one, two, length, 3 * round + 2);
	close(pipe_end);
	waitpid(child, NULL, 0);
	rdm_free(one);
	rdm_free(two);
}

int main(int argc, char **argv)
{
	peer_open(&peer, argc, argv);
	for (unsigned round = 0; round < ROUNDS; round++)
		play(round);
	printf("side %d: %d times sent, written and read, with a child each: all bytes are right\n",
	       peer.side, ROUNDS);
	return peer_close(&peer);
}
