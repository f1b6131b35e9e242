/* SPDX-License-Identifier: BSD-2-Clause */
/* AF_XDP in copy mode: lo, in a network of our own, sends frames out of pinned pages. */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
/* The longest that a frame can be, whatever a page is. */
#define FRAME ((size_t)4096)
#define SLOTS 64

struct ring {
	void *map;
	size_t length;
	uint32_t *producer, *consumer;
	void *slot;
};

struct probe_xdp {
	int socket, receiver;
	struct ring sent, done; /* to the kernel, and back */
};

static int open_sockets(void *argument)
{
	struct probe_xdp *xdp = argument;
	struct sockaddr_ll lo = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	/* What is not there by then never was sent. */
	struct timeval patience = { .tv_sec = 5 };

	xdp->socket = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xdp->socket < 0)
		return errno;
	lo.sll_ifindex = (int)if_nametoindex("lo");
	xdp->receiver = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	if (xdp->receiver < 0 ||
	    setsockopt(xdp->receiver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) ||
	    bind(xdp->receiver, (struct sockaddr *)&lo, sizeof(lo)))
		return errno;
	return 0;
}

static int open_xdp(struct probe_device *device, struct probe_outcome *out)
{
	struct probe_xdp *xdp = calloc(1, sizeof(*xdp));
	int error;

	if (!xdp)
		return probe_refused(out, "AF_XDP", ENOMEM);
	xdp->socket = xdp->receiver = -1;
	device->xdp = xdp;
	error = probe_in_own_network(open_sockets, xdp);
	if (!error)
		return 0;
	if (error == EAFNOSUPPORT)
		return probe_skip(out, "AF_XDP: this kernel has none");
	if (error == EPERM)
		return probe_skip(out, "AF_XDP: not permitted (no root, and no user namespace)");
	return probe_refused(out, "AF_XDP sockets", error);
}

static int map_ring(int socket, struct ring *ring, off_t where,
		    const struct xdp_ring_offset *offset, size_t slot)
{
	unsigned char *map;

	ring->length = offset->desc + SLOTS * slot;
	map = mmap(NULL, ring->length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket,
		   where);
	if (map == MAP_FAILED)
		return errno;
	ring->map = map;
	ring->producer = (void *)(map + offset->producer);
	ring->consumer = (void *)(map + offset->consumer);
	ring->slot = map + offset->desc;
	return 0;
}

static int make_rings(struct probe_xdp *xdp)
{
	static const int options[] = { XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_TX_RING };
	struct xdp_mmap_offsets offsets;
	socklen_t length = sizeof(offsets);
	int slots = SLOTS;
	int error;

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (setsockopt(xdp->socket, SOL_XDP, options[i], &slots, sizeof(slots)))
			return errno;
	if (getsockopt(xdp->socket, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length))
		return errno;
	error = map_ring(xdp->socket, &xdp->sent, XDP_PGOFF_TX_RING, &offsets.tx,
			 sizeof(struct xdp_desc));
	if (error)
		return error;
	return map_ring(xdp->socket, &xdp->done, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr,
			sizeof(uint64_t));
}

static int bind_to_lo(const struct probe_xdp *xdp)
{
	struct sockaddr_xdp lo = {
		.sxdp_family = AF_XDP,
		.sxdp_flags = XDP_COPY,
		.sxdp_ifindex = 1,
	};
	const struct timespec nap = { .tv_nsec = 1000000 };

	for (int tries = 0; tries < 20000; tries++) {
		if (!bind(xdp->socket, (struct sockaddr *)&lo, sizeof(lo)))
			return 0;
		if (errno != EBUSY)
			return errno;
		/* The kernel lets go of the last socket's queue in its own time. */
		nanosleep(&nap, NULL);
	}
	return EBUSY;
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	struct probe_xdp *xdp = device->xdp;
	struct xdp_umem_reg memory = {
		.addr = (uintptr_t)buffer->addr,
		.len = buffer->length,
		.chunk_size = FRAME,
	};
	int error;

	if (setsockopt(xdp->socket, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory)))
		return probe_refused(out, "AF_XDP memory", errno);
	error = make_rings(xdp);
	if (!error)
		error = bind_to_lo(xdp);
	if (error)
		return probe_refused(out, "AF_XDP rings", error);
	device->held = buffer->length;
	return 0;
}

static int send_frames(struct probe_xdp *xdp, size_t length)
{
	struct xdp_desc *slot = xdp->sent.slot;
	uint32_t at = *xdp->sent.producer;

	for (size_t i = 0; i < length / FRAME; i++)
		slot[(at + i) % SLOTS] = (struct xdp_desc){ .addr = i * FRAME, .len = FRAME };
	__atomic_store_n(xdp->sent.producer, at + (uint32_t)(length / FRAME), __ATOMIC_RELEASE);
	if (sendto(xdp->socket, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN)
		return errno;
	__atomic_store_n(xdp->done.consumer, __atomic_load_n(xdp->done.producer, __ATOMIC_ACQUIRE),
			 __ATOMIC_RELEASE);
	return 0;
}

static int receive_frames(const struct probe_xdp *xdp, unsigned char *seen, size_t length)
{
	for (size_t at = 0; at < length;) {
		ssize_t got = recv(xdp->receiver, seen + at, FRAME, MSG_TRUNC);

		if (got < 0 && errno != EINTR)
			return errno;
		/* Others may say something on lo, too. */
		if (got == (ssize_t)FRAME)
			at += FRAME;
	}
	return 0;
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	unsigned char *seen = malloc(buffer->length);
	int error;

	if (!seen)
		return probe_refused(out, "AF_XDP check", ENOMEM);
	probe_fill(buffer->addr, buffer->length, probe_next_seed());
	error = send_frames(device->xdp, buffer->length);
	if (!error)
		error = receive_frames(device->xdp, seen, buffer->length);
	if (!error)
		out->device_stale += probe_differ(out, seen, buffer->addr, buffer->length);
	free(seen);
	return error ? probe_broken(out, "AF_XDP frames: %s", strerror(error)) : 0;
}

static void unpin(struct probe_device *device)
{
	struct probe_xdp *xdp = device->xdp;

	device->held = 0;
	if (!xdp)
		return;
	if (xdp->sent.map)
		munmap(xdp->sent.map, xdp->sent.length);
	if (xdp->done.map)
		munmap(xdp->done.map, xdp->done.length);
	if (xdp->socket >= 0)
		close(xdp->socket);
	if (xdp->receiver >= 0)
		close(xdp->receiver);
	free(xdp);
	device->xdp = NULL;
}

const struct probe_engine probe_xdp = {
	.name = "AF_XDP",
	.open = open_xdp,
	.pin = pin,
	.check = check,
	.unpin = unpin,
	.close = unpin,
};
