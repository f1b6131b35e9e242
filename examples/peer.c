/* SPDX-License-Identifier: BSD-2-Clause */
#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

static void start_the_other(struct peer *peer, char *program)
{
	char number[16];
	char *const argv[] = { program, "--socket", number, NULL };
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		err(1, "socketpair");
	snprintf(number, sizeof(number), "%d", fd[1]);
	errno = posix_spawn(&peer->pid, "/proc/self/exe", NULL, NULL, argv, environ);
	if (errno)
		err(1, "%s", program);
	close(fd[1]);
	peer->fd = fd[0];
}

static struct addrinfo *look_up(const char *host, const char *port)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = host ? 0 : AI_PASSIVE,
	};
	struct addrinfo *found;
	int error = getaddrinfo(host, port, &hints, &found);

	if (error)
		errx(1, "%s port %s: %s", host ? host : "here", port, gai_strerror(error));
	return found;
}

static int accept_one(const char *port)
{
	struct addrinfo *here = look_up(NULL, port);
	int listener = socket(here->ai_family, SOCK_STREAM, 0);
	int on = 1, fd;

	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(listener, here->ai_addr, here->ai_addrlen) || listen(listener, 1))
		err(1, "port %s", port);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		err(1, "accept");
	close(listener);
	freeaddrinfo(here);
	return fd;
}

static int connect_to(const char *host, const char *port)
{
	struct addrinfo *there = look_up(host, port);
	int fd = -1;

	for (struct addrinfo *a = there; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, SOCK_STREAM, 0);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen)) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0)
		err(1, "%s port %s", host, port);
	freeaddrinfo(there);
	return fd;
}

static void find_the_other(struct peer *peer, int argc, char **argv)
{
	peer->side = argc == 3 && strcmp(argv[1], "--listen") != 0;
	if (argc == 1)
		start_the_other(peer, argv[0]);
	else if (argc == 3 && !strcmp(argv[1], "--socket"))
		peer->fd = (int)strtol(argv[2], NULL, 10);
	else if (argc == 3 && !strcmp(argv[1], "--listen"))
		peer->fd = accept_one(argv[2]);
	else if (argc == 3)
		peer->fd = connect_to(argv[1], argv[2]);
	else
		errx(2, "usage: %s [--listen PORT | HOST PORT]", argv[0]);
}

static void connect_ends(struct peer *peer)
{
	struct rc_address mine, theirs;

	errno = rc_end_open(&peer->end, &peer->device);
	if (!errno)
		errno = rc_end_address(&peer->end, &mine);
	if (errno)
		err(1, "queue pair");
	peer_swap(peer, &mine, &theirs, sizeof(mine));
	errno = rc_end_connect(&peer->end, &theirs);
	if (errno)
		err(1, "connection");
	peer_meet(peer);
}

void peer_open(struct peer *peer, int argc, char **argv)
{
	*peer = (struct peer){ 0 };
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (rc_device_open(&peer->device)) {
		puts("SKIP: no RDMA device with an active port");
		exit(77);
	}
	find_the_other(peer, argc, argv);
	peer->pool = rdm_pool_create(NULL);
	if (!peer->pool)
		exit(1);
	peer->rail = rdm_pool_add_verbs(peer->pool, peer->device.pd,
					IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ |
						IBV_ACCESS_REMOTE_WRITE);
	if (peer->rail < 0)
		exit(1);
	connect_ends(peer);
}

int peer_close(struct peer *peer)
{
	int status = 0;

	rc_end_close(&peer->end);
	if (rdm_pool_destroy(peer->pool))
		return 1;
	errno = rc_device_close(&peer->device);
	if (errno)
		err(1, "close");
	close(peer->fd);
	if (peer->pid && waitpid(peer->pid, &status, 0) < 0)
		err(1, "waitpid");
	return status != 0;
}

void peer_send(const struct peer *peer, const void *data, size_t size)
{
	const char *next = data;

	while (size) {
		ssize_t n = send(peer->fd, next, size, MSG_NOSIGNAL);

		if (n <= 0)
			err(1, "the other side is gone");
		next += n;
		size -= (size_t)n;
	}
}

void peer_receive(const struct peer *peer, void *data, size_t size)
{
	if (size && recv(peer->fd, data, size, MSG_WAITALL) != (ssize_t)size)
		errx(1, "the other side is gone");
}

void peer_swap(const struct peer *peer, const void *mine, void *theirs, size_t size)
{
	peer_send(peer, mine, size);
	peer_receive(peer, theirs, size);
}

void peer_meet(const struct peer *peer)
{
	char here = 0, there;

	peer_swap(peer, &here, &there, 1);
}

static struct ibv_sge describe(const struct peer *peer, void *block, size_t length)
{
	const struct iovec iov = { .iov_base = block, .iov_len = length };
	struct ibv_sge sge;

	if (rdm_sge(&iov, 1, peer->rail, &sge))
		err(1, "rdm_sge");
	return sge;
}

static void complete(const struct peer *peer, int operations)
{
	struct ibv_wc wc;

	for (; operations; operations--) {
		int error = rc_wait(&peer->end, &wc);

		if (error)
			errx(1, "completion: %s", rc_why(error, &wc));
	}
}

void peer_rdma(const struct peer *peer, enum ibv_wr_opcode opcode, void *here, size_t length,
	       uint64_t there, uint32_t rkey)
{
	struct ibv_sge sge = describe(peer, here, length);

	errno = rc_post_rdma(&peer->end, opcode, &sge, there, rkey);
	if (errno)
		err(1, "post");
	complete(peer, 1);
}

void peer_message(const struct peer *peer, void *from, void *to, size_t length)
{
	struct ibv_sge source = describe(peer, from, length);
	struct ibv_sge target = describe(peer, to, length);

	errno = rc_post_recv(&peer->end, &target);
	if (!errno)
		errno = rc_post_send(&peer->end, &source);
	if (errno)
		err(1, "post");
	complete(peer, 2);
}

void *peer_malloc(const struct peer *peer, size_t size)
{
	void *block = rdm_malloc(peer->pool, size);

	if (!block)
		exit(1);
	return block;
}
