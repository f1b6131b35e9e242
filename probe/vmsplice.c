/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

static int open_pipe(struct probe_device *device, struct probe_outcome *out)
{
	if (pipe2(device->fd, O_CLOEXEC | O_NONBLOCK))
		return probe_broken(out, "pipe: error %d", errno);
	return 0;
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	struct iovec whole = { .iov_base = buffer->addr, .iov_len = buffer->length };
	ssize_t held = vmsplice(device->fd[1], &whole, 1, SPLICE_F_NONBLOCK);

	if (held < 0)
		return probe_refused(out, "vmsplice", errno);
	/* A user over pipe-user-pages-soft gets pipes of one or two slots. */
	if (!held || (size_t)held % probe_page())
		return probe_broken(out, "vmsplice took %zd bytes", held);
	device->held = (size_t)held;
	return 0;
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	unsigned char *seen = malloc(device->held);
	size_t got = 0;

	if (!seen)
		return probe_refused(out, "vmsplice check", ENOMEM);
	probe_fill(buffer->addr, buffer->length, probe_next_seed());
	while (got < device->held) {
		ssize_t n = read(device->fd[0], seen + got, device->held - got);

		if (!n || (n < 0 && errno != EINTR))
			break;
		got += n > 0 ? (size_t)n : 0;
	}
	if (got == device->held && got)
		out->device_stale += probe_differ(out, seen, buffer->addr, got);
	free(seen);
	if (got < device->held || !got)
		return probe_broken(out, "the pipe gave %zu bytes of %zu", got, device->held);
	device->held = 0;
	return 0;
}

static void unpin(struct probe_device *device)
{
	/* Only the last reader's end lets go of the pages that are still in the pipe. */
	for (int i = 0; i < 2; i++) {
		if (device->fd[i] >= 0)
			close(device->fd[i]);
		device->fd[i] = -1;
	}
	device->held = 0;
}

const struct probe_engine probe_vmsplice = {
	.name = "vmsplice",
	.open = open_pipe,
	.pin = pin,
	.check = check,
	.unpin = unpin,
	.close = unpin,
};
