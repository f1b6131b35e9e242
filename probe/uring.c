/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "internal.h"

#ifdef HAVE_URING

#include <liburing.h>

static int open_ring(struct probe_device *device, struct probe_outcome *out)
{
	int error;

	device->fd[0] = memfd_create("probe", MFD_CLOEXEC);
	if (device->fd[0] < 0)
		return probe_refused(out, "memfd_create", errno);
	device->ring = malloc(sizeof(*device->ring));
	if (!device->ring)
		return probe_refused(out, "io_uring", ENOMEM);
	error = -io_uring_queue_init(4, device->ring, 0);
	if (!error)
		return 0;
	free(device->ring);
	device->ring = NULL;
	if (error == EPERM)
		return probe_skip(out, "io_uring: not permitted (sysctl kernel.io_uring_disabled,"
				       " or a container's filter)");
	return probe_refused(out, "io_uring", error);
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	struct iovec whole = { .iov_base = buffer->addr, .iov_len = buffer->length };
	int error;

	device->held = buffer->length;
	if (buffer->registered)
		return 0;
	error = -io_uring_register_buffers(device->ring, &whole, 1);
	if (error)
		return probe_refused(out, "io_uring fixed buffers", error);
	device->pinned = true;
	buffer->registered = true;
	buffer->lkey = 0;
	return 0;
}

/* The device moves bytes between registered memory and the start of its memfd. */
static int transfer(struct probe_device *device, unsigned index, void *addr, size_t length,
		    bool write)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(device->ring);
	struct io_uring_cqe *cqe;
	int done;

	if (!sqe)
		return EBUSY;
	if (write)
		io_uring_prep_read_fixed(sqe, device->fd[0], addr, (unsigned)length, 0, (int)index);
	else
		io_uring_prep_write_fixed(sqe, device->fd[0], addr, (unsigned)length, 0,
					  (int)index);
	done = io_uring_submit_and_wait(device->ring, 1);
	if (done < 0)
		return -done;
	done = io_uring_wait_cqe(device->ring, &cqe);
	if (done)
		return -done;
	done = cqe->res;
	io_uring_cqe_seen(device->ring, cqe);
	if (done < 0)
		return -done;
	return (size_t)done == length ? 0 : EIO;
}

int probe_device_read(struct probe_device *device, unsigned index, const void *addr, void *to,
		      size_t length)
{
	int error = transfer(device, index, (void *)(uintptr_t)addr, length, false);

	if (error)
		return error;
	return pread(device->fd[0], to, length, 0) == (ssize_t)length ? 0 : EIO;
}

int probe_device_write(struct probe_device *device, unsigned index, void *addr, const void *from,
		       size_t length)
{
	if (pwrite(device->fd[0], from, length, 0) != (ssize_t)length)
		return EIO;
	return transfer(device, index, addr, length, true);
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	size_t length = buffer->length;
	unsigned char *other = malloc(length);
	int error;

	if (!other)
		return probe_refused(out, "io_uring check", ENOMEM);
	probe_fill(buffer->addr, length, probe_next_seed());
	error = probe_device_read(device, buffer->lkey, buffer->addr, other, length);
	if (!error) {
		out->device_stale += probe_differ(out, other, buffer->addr, length);
		probe_fill(other, length, probe_next_seed());
		error = probe_device_write(device, buffer->lkey, buffer->addr, other, length);
	}
	if (!error)
		out->cpu_stale += probe_differ(out, other, buffer->addr, length);
	free(other);
	return error ? probe_broken(out, "io_uring transfer: %s", strerror(error)) : 0;
}

static void unpin(struct probe_device *device)
{
	if (device->pinned)
		io_uring_unregister_buffers(device->ring);
	device->pinned = false;
	device->held = 0;
}

static void close_ring(struct probe_device *device)
{
	if (!device->ring)
		return;
	io_uring_queue_exit(device->ring);
	free(device->ring);
	device->ring = NULL;
}

#else

static int open_ring(struct probe_device *device, struct probe_outcome *out)
{
	(void)device;
	return probe_skip(out, "io_uring: built without liburing");
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	(void)buffer;
	return open_ring(device, out);
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	(void)buffer;
	return open_ring(device, out);
}

static void unpin(struct probe_device *device)
{
	(void)device;
}

#define close_ring unpin

int probe_device_read(struct probe_device *device, unsigned index, const void *addr, void *to,
		      size_t length)
{
	(void)device, (void)index, (void)addr, (void)to, (void)length;
	return ENOSYS;
}

int probe_device_write(struct probe_device *device, unsigned index, void *addr, const void *from,
		       size_t length)
{
	(void)device, (void)index, (void)addr, (void)from, (void)length;
	return ENOSYS;
}

#endif

const struct probe_engine probe_uring = {
	.name = "io_uring",
	.open = open_ring,
	.pin = pin,
	.check = check,
	.unpin = unpin,
	.close = close_ring,
};
