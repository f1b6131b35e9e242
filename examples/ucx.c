/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool with a UCP context as its rail: tagged messages and one-sided access between two
 * processes, both of which fork while they run. Each round the first one sends a buffer, the
 * second one puts it into the first one's window, and gets it back from there. UCX_TLS chooses
 * the transports.
 *
 * Usage: ucx [ROUNDS]     50 by default
 */
#include <err.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rdmalloc-ucx.h"
#include "rounds.h"

enum { LENGTH = ROUND_BYTES };

static ucp_context_h context;
static ucp_worker_h worker;
static ucp_ep_h peer;
static ucp_rkey_h their_key;
static uint64_t their_window;
static unsigned rounds = 50;

static void must(ucs_status_t status, const char *what)
{
	if (status != UCS_OK)
		errx(1, "%s: %s", what, ucs_status_string(status));
}

static void open_ucx(void)
{
	ucp_params_t params = { .field_mask = UCP_PARAM_FIELD_FEATURES,
				.features = UCP_FEATURE_TAG | UCP_FEATURE_RMA };
	ucp_worker_params_t worker_params = { .field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
					      .thread_mode = UCS_THREAD_MODE_SINGLE };
	ucp_config_t *config;

	must(ucp_config_read(NULL, NULL, &config), "ucp_config_read");
	must(ucp_init(&params, config, &context), "ucp_init");
	ucp_config_release(config);
	must(ucp_worker_create(context, &worker_params, &worker), "ucp_worker_create");
}

static ucp_mem_h memh_of(const void *buffer, int rail)
{
	struct rdm_key key;

	if (rdm_key(buffer, rail, &key))
		err(1, "rdm_key");
	return rdm_ucx_memh(&key);
}

static void tell(int other, const void *bytes, size_t length)
{
	if (write(other, &length, sizeof(length)) != sizeof(length) ||
	    write(other, bytes, length) != (ssize_t)length)
		err(1, "the other side");
}

static void *hear(int other)
{
	size_t length;
	void *bytes;

	if (recv(other, &length, sizeof(length), MSG_WAITALL) != sizeof(length) ||
	    !(bytes = malloc(length)) || recv(other, bytes, length, MSG_WAITALL) != (ssize_t)length)
		err(1, "the other side");
	return bytes;
}

static void exchange(int other, const void *window, int rail)
{
	ucp_ep_params_t params = { .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS };
	uint64_t where = (uintptr_t)window;
	ucp_address_t *address;
	size_t length;
	void *packed, *heard;

	must(ucp_worker_get_address(worker, &address, &length), "ucp_worker_get_address");
	tell(other, address, length);
	ucp_worker_release_address(worker, address);
	must(ucp_rkey_pack(context, memh_of(window, rail), &packed, &length), "ucp_rkey_pack");
	tell(other, packed, length);
	ucp_rkey_buffer_release(packed);
	tell(other, &where, sizeof(where));

	params.address = heard = hear(other);
	must(ucp_ep_create(worker, &params, &peer), "ucp_ep_create");
	free(heard);
	heard = hear(other);
	must(ucp_ep_rkey_unpack(peer, heard, &their_key), "ucp_ep_rkey_unpack");
	free(heard);
	heard = hear(other);
	their_window = *(uint64_t *)heard;
	free(heard);
}

static void serve(void)
{
	if (!ucp_worker_progress(worker))
		sched_yield();
}

/* Until what was asked for is done. Meanwhile UCX serves the other side's calls. */
static void wait_for(ucs_status_ptr_t request, const char *what)
{
	ucs_status_t status = UCS_INPROGRESS;

	if (!UCS_PTR_IS_PTR(request)) {
		must(UCS_PTR_STATUS(request), what);
		return;
	}
	while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS)
		serve();
	ucp_request_free(request);
	must(status, what);
}

static ucp_request_param_t with_memh(const void *buffer, int rail)
{
	return (ucp_request_param_t){ .op_attr_mask = UCP_OP_ATTR_FIELD_MEMH,
				      .memh = memh_of(buffer, rail) };
}

static void send_to_peer(const void *buffer, size_t length, unsigned tag, int rail)
{
	ucp_request_param_t param = with_memh(buffer, rail);

	wait_for(ucp_tag_send_nbx(peer, buffer, length, tag, &param), "ucp_tag_send_nbx");
}

static void receive(void *buffer, size_t length, unsigned tag, int rail)
{
	ucp_request_param_t param = with_memh(buffer, rail);

	wait_for(ucp_tag_recv_nbx(worker, buffer, length, tag, ~(ucp_tag_t)0, &param),
		 "ucp_tag_recv_nbx");
}

static void put_and_get(const void *buffer, void *back, int rail)
{
	ucp_request_param_t none = { 0 }, param = with_memh(buffer, rail);

	wait_for(ucp_put_nbx(peer, buffer, LENGTH, their_window, their_key, &param), "ucp_put_nbx");
	wait_for(ucp_ep_flush_nbx(peer, &none), "ucp_ep_flush_nbx");
	param = with_memh(back, rail);
	wait_for(ucp_get_nbx(peer, back, LENGTH, their_window, their_key, &param), "ucp_get_nbx");
}

static void first(rdm_pool *pool, int rail, unsigned char *window)
{
	for (unsigned round = 0; round < rounds; round++) {
		unsigned char *buffer = rdm_malloc(pool, LENGTH);
		pid_t child;

		if (!buffer)
			err(1, "rdm_malloc");
		child = rounds_begin_child(window);
		rounds_fill(buffer, round);
		send_to_peer(buffer, LENGTH, round, rail);
		receive(buffer, 1, round, rail);
		if (!rounds_is_filled(window, round))
			errx(1, "round %u: the window has not what was put into it", round);
		rounds_end_child(child);
		rdm_free(buffer);
	}
}

static void second(rdm_pool *pool, int rail)
{
	for (unsigned round = 0; round < rounds; round++) {
		unsigned char *buffer = rdm_malloc(pool, LENGTH), *back = rdm_malloc(pool, LENGTH);
		pid_t child;

		if (!buffer || !back)
			err(1, "rdm_malloc");
		child = rounds_begin_child(back);
		receive(buffer, LENGTH, round, rail);
		if (!rounds_is_filled(buffer, round))
			errx(1, "round %u: what came is not what was sent", round);
		put_and_get(buffer, back, rail);
		if (!rounds_is_filled(back, round))
			errx(1, "round %u: what was got is not what was put", round);
		send_to_peer(buffer, 1, round, rail);
		rounds_end_child(child);
		rdm_free(buffer);
		rdm_free(back);
	}
}

static void run(int other, bool is_first)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	struct rdm_stats stats = { .size = sizeof(stats) };
	ucp_request_param_t none = { 0 };
	unsigned char *window;
	rdm_pool *pool;
	int rail;

	open_ucx();
	config.fork = RDM_FORK_COPY;
	pool = rdm_pool_create(&config);
	rail = pool ? rdm_pool_add_ucx(pool, context) : -1;
	window = rail < 0 ? NULL : rdm_malloc(pool, LENGTH);
	if (!window)
		err(1, "rdmalloc");
	exchange(other, window, rail);
	if (is_first)
		first(pool, rail, window);
	else
		second(pool, rail);
	wait_for(ucp_ep_flush_nbx(peer, &none), "ucp_ep_flush_nbx");
	rounds_part(other, serve);
	if (rdm_pool_stats(pool, &stats))
		err(1, "rdm_pool_stats");
	printf("UCX, %s side: %u rounds, each with a child: all bytes are right; %llu registrations\n",
	       is_first ? "first" : "second", rounds, (unsigned long long)stats.registrations);
}

int main(int argc, char *argv[])
{
	if (argc > 1)
		rounds = (unsigned)atoi(argv[1]);
	return rounds_in_two(run);
}
