/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_RC_H
#define RDM_PROBE_RC_H

/*
 * Reliable connections between two ends, in one process or in two, and nothing
 * but what is needed for one operation at a time. Integers that are returned are
 * 0 or a positive errno value.
 */

#include <infiniband/verbs.h>
#include <stdint.h>

/* The first device that has an active port, and a protection domain on it. */
struct rc_device {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_port_attr port;
	uint8_t port_num;
};

/* ENODEV: there is none. */
int rc_device_open(struct rc_device *device);
/* The same with the device of this name. */
int rc_device_open_named(struct rc_device *device, const char *name);
/* EBUSY: somebody still uses the protection domain. */
int rc_device_close(struct rc_device *device);

/* What an end must know of its peer; the same bytes on every machine. */
struct rc_address {
	uint8_t gid[16];
	uint8_t qpn[4];
	uint8_t lid[2];
};

struct rc_end {
	const struct rc_device *device;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
};

int rc_end_open(struct rc_end *end, const struct rc_device *device);
int rc_end_address(const struct rc_end *end, struct rc_address *address);
int rc_end_connect(const struct rc_end *end, const struct rc_address *peer);
/* Also what rc_end_open() left when it failed. */
void rc_end_close(struct rc_end *end);
/* Both ends in this process. */
int rc_connect_pair(const struct rc_end *a, const struct rc_end *b);

int rc_post_recv(const struct rc_end *end, struct ibv_sge *sge);
int rc_post_send(const struct rc_end *end, struct ibv_sge *sge);
/* opcode: IBV_WR_RDMA_READ or IBV_WR_RDMA_WRITE */
int rc_post_rdma(const struct rc_end *end, enum ibv_wr_opcode opcode, struct ibv_sge *sge,
		 uint64_t remote_addr, uint32_t rkey);
/* Polls until something completes. EIO: it failed, see wc->status; ETIMEDOUT. */
int rc_wait(const struct rc_end *end, struct ibv_wc *wc);
/* "what: why" for an error of rc_wait() */
const char *rc_why(int error, const struct ibv_wc *wc);

#endif
