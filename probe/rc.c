/* SPDX-License-Identifier: BSD-2-Clause */
#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "rc.h"

/* Index 0 is there on every port, of every kind of network. */
#define GID_INDEX 0
#define DEPTH 16
#define DEADLINE_SECONDS 20

static int find_port(struct rc_device *device)
{
	struct ibv_device_attr attributes;
	int error = ibv_query_device(device->context, &attributes);

	if (error)
		return error;
	for (unsigned i = 1; i <= attributes.phys_port_cnt; i++) {
		error = ibv_query_port(device->context, (uint8_t)i, &device->port);
		if (!error && device->port.state == IBV_PORT_ACTIVE) {
			device->port_num = (uint8_t)i;
			return 0;
		}
	}
	return ENODEV;
}

static int open_device(struct rc_device *device, struct ibv_device *which)
{
	int error;

	*device = (struct rc_device){ .context = ibv_open_device(which) };
	if (!device->context)
		return errno ? errno : ENODEV;
	error = find_port(device);
	if (!error) {
		device->pd = ibv_alloc_pd(device->context);
		error = device->pd ? 0 : errno;
	}
	if (error)
		ibv_close_device(device->context);
	return error;
}

int rc_device_open_named(struct rc_device *device, const char *name)
{
	int n = 0;
	struct ibv_device **list = ibv_get_device_list(&n);
	int error = ENODEV;

	/* Without ib_uverbs the list fails with ENOSYS: no device either. */
	for (int i = 0; list && i < n && error; i++)
		if (!name || !strcmp(name, ibv_get_device_name(list[i])))
			error = open_device(device, list[i]);
	if (list)
		ibv_free_device_list(list);
	return error;
}

int rc_device_open(struct rc_device *device)
{
	return rc_device_open_named(device, NULL);
}

int rc_device_close(struct rc_device *device)
{
	int error = ibv_dealloc_pd(device->pd);

	return error ? error : ibv_close_device(device->context);
}

static int start_qp(const struct rc_end *end)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = end->device->port_num,
		.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
	};

	return ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
}

int rc_end_open(struct rc_end *end, const struct rc_device *device)
{
	struct ibv_qp_init_attr init = {
		.qp_type = IBV_QPT_RC,
		.cap = { DEPTH, DEPTH, 1, 1, 0 },
	};

	*end = (struct rc_end){ .device = device };
	end->cq = ibv_create_cq(device->context, 2 * DEPTH, NULL, NULL, 0);
	if (!end->cq)
		return errno;
	init.send_cq = end->cq;
	init.recv_cq = end->cq;
	end->qp = ibv_create_qp(device->pd, &init);
	return end->qp ? start_qp(end) : errno;
}

void rc_end_close(struct rc_end *end)
{
	if (end->qp)
		ibv_destroy_qp(end->qp);
	if (end->cq)
		ibv_destroy_cq(end->cq);
	*end = (struct rc_end){ 0 };
}

int rc_end_address(const struct rc_end *end, struct rc_address *address)
{
	const struct rc_device *device = end->device;
	uint32_t qpn = htobe32(end->qp->qp_num);
	uint16_t lid = htobe16(device->port.lid);
	union ibv_gid gid;

	if (ibv_query_gid(device->context, device->port_num, GID_INDEX, &gid))
		return errno ? errno : EIO;
	memcpy(address->gid, gid.raw, sizeof(address->gid));
	memcpy(address->qpn, &qpn, sizeof(qpn));
	memcpy(address->lid, &lid, sizeof(lid));
	return 0;
}

static int ready_to_receive(const struct rc_end *end, const struct rc_address *peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = end->device->port.active_mtu,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 1,
		.ah_attr = {
			.is_global = 1,
			.grh = { .sgid_index = GID_INDEX, .hop_limit = 64 },
			.port_num = end->device->port_num,
		},
	};
	uint32_t qpn;
	uint16_t lid;

	memcpy(&qpn, peer->qpn, sizeof(qpn));
	memcpy(&lid, peer->lid, sizeof(lid));
	memcpy(attr.ah_attr.grh.dgid.raw, peer->gid, sizeof(peer->gid));
	attr.dest_qp_num = be32toh(qpn);
	attr.ah_attr.dlid = be16toh(lid);
	return ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				     IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				     IBV_QP_MIN_RNR_TIMER);
}

int rc_end_connect(const struct rc_end *end, const struct rc_address *peer)
{
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_RTS,
		.timeout = 18, /* a second: beside much other work an answer takes long */
		.retry_cnt = 7,
		.rnr_retry = 7, /* for ever: the peer's receive may be late */
		.max_rd_atomic = 1,
	};
	int error = ready_to_receive(end, peer);

	if (error)
		return error;
	return ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				     IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
}

int rc_connect_pair(const struct rc_end *a, const struct rc_end *b)
{
	struct rc_address address[2];
	int error = rc_end_address(a, &address[0]);

	if (!error)
		error = rc_end_address(b, &address[1]);
	if (!error)
		error = rc_end_connect(a, &address[1]);
	return error ? error : rc_end_connect(b, &address[0]);
}

int rc_post_recv(const struct rc_end *end, struct ibv_sge *sge)
{
	struct ibv_recv_wr wr = { .sg_list = sge, .num_sge = 1 };
	struct ibv_recv_wr *bad;

	return ibv_post_recv(end->qp, &wr, &bad);
}

int rc_post_send(const struct rc_end *end, struct ibv_sge *sge)
{
	return rc_post_rdma(end, IBV_WR_SEND, sge, 0, 0);
}

int rc_post_rdma(const struct rc_end *end, enum ibv_wr_opcode opcode, struct ibv_sge *sge,
		 uint64_t remote_addr, uint32_t rkey)
{
	struct ibv_send_wr wr = {
		.sg_list = sge,
		.num_sge = 1,
		.opcode = opcode,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.rdma = { .remote_addr = remote_addr, .rkey = rkey },
	};
	struct ibv_send_wr *bad;

	return ibv_post_send(end->qp, &wr, &bad);
}

int rc_wait(const struct rc_end *end, struct ibv_wc *wc)
{
	struct timespec now, start;
	int n;

	/* It is who looks that makes the time pass: beside much other work both need longer. */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
	do {
		n = ibv_poll_cq(end->cq, 1, wc);
		if (n)
			break;
		sched_yield();
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	} while (now.tv_sec - start.tv_sec < DEADLINE_SECONDS);
	if (!n)
		return ETIMEDOUT;
	return n == 1 && wc->status == IBV_WC_SUCCESS ? 0 : EIO;
}

const char *rc_why(int error, const struct ibv_wc *wc)
{
	return error == EIO ? ibv_wc_status_str(wc->status) : strerror(error);
}
