/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "config.h"
#include "internal.h"

#ifdef HAVE_VERBS

#include "rc.h"

/* One process is both sides: its own, with the memory under test, and the peer. */
struct probe_verbs {
	struct rc_device device;
	struct rc_end own, peer;
	struct ibv_mr *mr;      /* of the memory under test, unless it came with a key */
	struct ibv_mr *peer_mr; /* MAP_SHARED: never copied on write */
	unsigned char *data;
	size_t length;
};

static int open_verbs(struct probe_device *device, struct probe_outcome *out)
{
	struct probe_verbs *verbs = calloc(1, sizeof(*verbs));
	int error;

	if (!verbs)
		return probe_refused(out, "verbs", ENOMEM);
	error = rc_device_open(&verbs->device);
	if (error) {
		free(verbs);
		if (error == ENODEV)
			return probe_skip(out, "verbs: no RDMA device with an active port");
		return probe_refused(out, "verbs", error);
	}
	device->verbs = verbs;
	device->pd = verbs->device.pd;
	device->access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	error = rc_end_open(&verbs->own, &verbs->device);
	if (!error)
		error = rc_end_open(&verbs->peer, &verbs->device);
	if (!error)
		error = rc_connect_pair(&verbs->own, &verbs->peer);
	return error ? probe_refused(out, "verbs connection", error) : 0;
}

static int pin_peer(struct probe_device *device, size_t length, struct probe_outcome *out)
{
	struct probe_verbs *verbs = device->verbs;
	void *data = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (data == MAP_FAILED)
		return probe_refused(out, "the peer's memory", errno);
	verbs->data = data;
	verbs->length = length;
	verbs->peer_mr = ibv_reg_mr(device->pd, data, length, (unsigned)device->access);
	return verbs->peer_mr ? 0 : probe_refused(out, "ibv_reg_mr", errno);
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	struct ibv_mr *mr;

	if (pin_peer(device, buffer->length, out))
		return -1;
	device->held = buffer->length;
	if (buffer->registered)
		return 0;
	mr = ibv_reg_mr(device->pd, buffer->addr, buffer->length, (unsigned)device->access);
	if (!mr)
		return probe_refused(out, "ibv_reg_mr", errno);
	device->verbs->mr = mr;
	buffer->registered = true;
	buffer->lkey = mr->lkey;
	buffer->rkey = mr->rkey;
	return 0;
}

static int await(const struct rc_end *end, struct probe_outcome *out)
{
	struct ibv_wc wc;
	int error = rc_wait(end, &wc);

	return error ? probe_broken(out, "verbs completion: %s", rc_why(error, &wc)) : 0;
}

static int message(const struct rc_end *from, struct ibv_sge *source, const struct rc_end *to,
		   struct ibv_sge *target, struct probe_outcome *out)
{
	int error = rc_post_recv(to, target);

	if (!error)
		error = rc_post_send(from, source);
	if (error)
		return probe_broken(out, "verbs post: %s", strerror(error));
	return await(from, out) || await(to, out) ? -1 : 0;
}

static int rdma(const struct rc_end *peer, enum ibv_wr_opcode opcode, struct ibv_sge *sge,
		const struct probe_buffer *buffer, struct probe_outcome *out)
{
	int error = rc_post_rdma(peer, opcode, sge, (uintptr_t)buffer->addr, buffer->rkey);

	return error ? probe_broken(out, "verbs post: %s", strerror(error)) : await(peer, out);
}

static int transfer(const struct probe_device *device, const struct probe_buffer *buffer,
		    struct probe_outcome *out)
{
	const struct probe_verbs *verbs = device->verbs;
	uint32_t length = (uint32_t)buffer->length;
	struct ibv_sge own = { (uintptr_t)buffer->addr, length, buffer->lkey };
	struct ibv_sge peer = { (uintptr_t)verbs->data, length, verbs->peer_mr->lkey };

	if (device->engine == &probe_verbs_send)
		return message(&verbs->own, &own, &verbs->peer, &peer, out);
	if (device->engine == &probe_verbs_recv)
		return message(&verbs->peer, &peer, &verbs->own, &own, out);
	return rdma(&verbs->peer,
		    device->engine == &probe_verbs_read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE,
		    &peer, buffer, out);
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	const struct probe_verbs *verbs = device->verbs;
	bool device_reads =
		device->engine == &probe_verbs_send || device->engine == &probe_verbs_read;

	/* The CPU writes first either way: that is when the kernel may give it another page. */
	probe_fill(buffer->addr, buffer->length, probe_next_seed());
	probe_fill(verbs->data, buffer->length, probe_next_seed());
	if (transfer(device, buffer, out))
		return -1;
	*(device_reads ? &out->device_stale : &out->cpu_stale) +=
		probe_differ(out, verbs->data, buffer->addr, buffer->length);
	return 0;
}

static void unpin(struct probe_device *device)
{
	struct probe_verbs *verbs = device->verbs;

	if (!verbs)
		return;
	if (verbs->mr)
		ibv_dereg_mr(verbs->mr);
	if (verbs->peer_mr)
		ibv_dereg_mr(verbs->peer_mr);
	if (verbs->data)
		munmap(verbs->data, verbs->length);
	verbs->mr = NULL;
	verbs->peer_mr = NULL;
	verbs->data = NULL;
	device->held = 0;
}

static void close_verbs(struct probe_device *device)
{
	struct probe_verbs *verbs = device->verbs;

	if (!verbs)
		return;
	rc_end_close(&verbs->own);
	rc_end_close(&verbs->peer);
	rc_device_close(&verbs->device);
	free(verbs);
	device->verbs = NULL;
	device->pd = NULL;
}

#else

static int open_verbs(struct probe_device *device, struct probe_outcome *out)
{
	(void)device;
	return probe_skip(out, "verbs: built without libibverbs");
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	(void)buffer;
	return open_verbs(device, out);
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	(void)buffer;
	return open_verbs(device, out);
}

static void unpin(struct probe_device *device)
{
	(void)device;
}

#define close_verbs unpin

#endif

#define ENGINE(label)                                                                            \
	{                                                                                        \
		.name = (label), .open = open_verbs, .pin = pin, .check = check, .unpin = unpin, \
		.close = close_verbs,                                                            \
	}

const struct probe_engine probe_verbs_send = ENGINE("verbs send");
const struct probe_engine probe_verbs_recv = ENGINE("verbs recv");
const struct probe_engine probe_verbs_read = ENGINE("RDMA read");
const struct probe_engine probe_verbs_write = ENGINE("RDMA write");
