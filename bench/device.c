/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "device.h"
#include "worker.h"

#include <errno.h>
#include <string.h>

#ifdef HAVE_URING

#include <liburing.h>

static struct io_uring ring;

const char *bench_device_open(void)
{
	int error = -io_uring_queue_init(4, &ring, 0);

	return error ? bench_why("no io_uring: %s", strerror(error)) : NULL;
}

void bench_device_close(void)
{
	io_uring_queue_exit(&ring);
}

struct io_uring *bench_device_ring(void)
{
	return &ring;
}

const char *bench_device_table(unsigned slots)
{
	int error = -io_uring_register_buffers_sparse(&ring, slots);

	return error ? bench_why("no table of %u fixed buffers: %s", slots, strerror(error)) : NULL;
}

int bench_pin(unsigned slot, void *addr, size_t length)
{
	struct iovec buffer = { .iov_base = addr, .iov_len = length };
	__u64 tag = 0;
	int done = io_uring_register_buffers_update_tag(&ring, slot, &buffer, &tag, 1);

	return done == 1 ? 0 : done < 0 ? -done : EIO;
}

#else

static const char without[] = "built --without-uring";

const char *bench_device_open(void)
{
	return without;
}

void bench_device_close(void)
{
}

struct io_uring *bench_device_ring(void)
{
	return NULL;
}

const char *bench_device_table(unsigned slots)
{
	(void)slots;
	return without;
}

int bench_pin(unsigned slot, void *addr, size_t length)
{
	(void)slot;
	(void)addr;
	(void)length;
	return ENOTSUP;
}

#endif

int bench_pin_all(char *addr, size_t length)
{
	int error = 0;

	for (unsigned slot = 0; length && !error; slot++) {
		size_t piece = length < BENCH_PIN_MAX ? length : BENCH_PIN_MAX;

		error = bench_pin(slot, addr, piece);
		addr += piece;
		length -= piece;
	}
	return error;
}
