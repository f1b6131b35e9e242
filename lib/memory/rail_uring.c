/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "memory/meta.h"
#include "memory/rail.h"

#ifdef HAVE_URING

#include <liburing.h>

#define DEFAULT_SLOTS 1024
/* IORING_MAX_REG_BUFFERS (io_uring/rsrc.c). */
#define MAX_SLOTS (1U << 14)
/* IORING_SETUP_SINGLE_ISSUER, since Linux 6.0. */
#define SINGLE_ISSUER (1U << 12)
/* A fixed buffer has 1 GiB at most (io_uring/rsrc.c, io_buffer_validate). */
#define MAX_LENGTH ((size_t)1 << 30)

struct uring_context {
	struct io_uring *ring;
	unsigned slots;
	unsigned long taken[]; /* a bit for each slot of the ring's buffer table */
};

static int update(struct uring_context *uring, size_t slot, void *addr, size_t length)
{
	struct iovec buffer = { .iov_base = addr, .iov_len = length };
	__u64 tag = 0;
	int done =
		io_uring_register_buffers_update_tag(uring->ring, (unsigned)slot, &buffer, &tag, 1);

	return done == 1 ? 0 : done < 0 ? -done : EIO;
}

static int reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	struct uring_context *uring = context;
	size_t slot = rdm_bits_next(uring->taken, uring->slots, 0, false);
	int error;

	if (slot == uring->slots)
		return ENOSPC;
	error = update(uring, slot, addr, length);
	if (error)
		return error;
	rdm_bits_assign(uring->taken, slot, 1, true);
	*mr = (struct rdm_mr){ .lkey = (uint32_t)slot };
	return 0;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	struct uring_context *uring = context;
	int error = update(uring, mr->lkey, NULL, 0);

	if (!error)
		rdm_bits_assign(uring->taken, mr->lkey, 1, false);
	return error;
}

static void close_rail(void *context, bool inherited)
{
	struct uring_context *uring = context;

	/* In the child the ring is the parent's. */
	if (!inherited && io_uring_unregister_buffers(uring->ring))
		rdm_log(RDM_LOG_WARN,
			"io_uring: the empty table of fixed buffers stays registered");
	rdm_meta_free(uring);
}

static const char *what_it_needs(int error)
{
	switch (error) {
	case EINVAL: /* what a kernel says to a flag that it does not know */
		return ": it needs Linux 5.19";
	case EBUSY:
		return ": it needs a ring without registered buffers";
	default:
		return "";
	}
}

int rdm_rail_open_uring(struct rdm_rail *rail, struct io_uring *ring, unsigned slots)
{
	struct uring_context *uring;
	int error;

	if (!ring) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_add_uring: the ring is NULL");
		return EINVAL;
	}
	if (slots > MAX_SLOTS) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_add_uring: %u slots, there can be %u at most",
			slots, MAX_SLOTS);
		return EINVAL;
	}
	/* Whoever allocates may have to register. */
	if (ring->flags & SINGLE_ISSUER) {
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_add_uring: the ring is IORING_SETUP_SINGLE_ISSUER, but "
			"any thread may make a slab");
		return EINVAL;
	}
	slots = slots ? slots : DEFAULT_SLOTS;
	uring = rdm_meta_alloc(sizeof(*uring) + ((size_t)slots + 63) / 64 * sizeof(long));
	if (!uring) {
		rdm_blame(RDM_LOG_ERROR, &rdm_meta_failure,
			  "rdm_pool_add_uring: no memory for the rail's own record");
		return ENOMEM;
	}
	uring->ring = ring;
	uring->slots = slots;
	error = -io_uring_register_buffers_sparse(ring, slots);
	if (error) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_add_uring: no table of %u fixed buffers (%s)%s",
			slots, strerror(error), what_it_needs(error));
		rdm_meta_free(uring);
		return error == EINVAL ? ENOTSUP : error;
	}
	rail->registrar = (struct rdm_registrar){
		.size = sizeof(rail->registrar),
		.name = "io_uring",
		.max_len = MAX_LENGTH,
		.reg = reg,
		.dereg = dereg,
	};
	snprintf(rail->hint, sizeof(rail->hint), "; the ring's table has %u slots for slabs",
		 slots);
	rail->context = uring;
	rail->close = close_rail;
	return 0;
}

#else

int rdm_rail_open_uring(struct rdm_rail *rail, struct io_uring *ring, unsigned slots)
{
	(void)rail;
	(void)ring;
	(void)slots;
	rdm_log(RDM_LOG_ERROR, "rdm_pool_add_uring: this rdmalloc was built --without-uring");
	return ENOTSUP;
}

#endif
