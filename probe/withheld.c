/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transfers under way: read(2) or write(2) of a file of ours, straight from the pages
 * under test, waits for an answer that comes only after the hazard.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse.h"
#include "internal.h"

static struct {
	bool open;
	bool busy;
	struct fuse_file file;
	int loop; /* on top of the file; -1: none yet */
	struct fuse_errand errand;
} session;

static bool is_write(const struct probe_device *device)
{
	return device->engine == &probe_fuse_write || device->engine == &probe_direct_write;
}

static bool is_direct(const struct probe_device *device)
{
	return device->engine == &probe_direct_read || device->engine == &probe_direct_write;
}

static int configure(struct fuse_errand *errand)
{
	int file = fuse_file_reopen(errand->file);
	struct stat info;
	int error;

	if (file < 0)
		return errno;
	/* From here on the kernel knows its size. */
	error = fstat(file, &info) ? errno : probe_loop_configure(errand->fd, file);
	close(file);
	return error;
}

static int open_loop(struct probe_outcome *out)
{
	struct fuse_errand errand = {
		.file = &session.file,
		.run = configure,
	};
	int error;

	if (probe_loop_reserved() < 0)
		return probe_skip(out,
				  "O_DIRECT: no loop device (needs root, and /dev/loop-control)");
	errand.fd = probe_loop_open(probe_loop_reserved());
	if (errand.fd < 0)
		return probe_skip(out, "O_DIRECT: the loop device: %s", strerror(errno));
	error = fuse_errand_begin(&errand) ? errand.error : fuse_errand_end(&errand);
	if (!error) {
		session.loop = errand.fd;
		return 0;
	}
	close(errand.fd);
	/* Before Linux 5.8 there is no LOOP_CONFIGURE. */
	if (error == EINVAL || error == ENOSYS)
		return probe_skip(out, "O_DIRECT: this kernel's loop device is too old");
	return probe_refused(out, "O_DIRECT: the loop device", error);
}

/* Both stay open: they are this process's, and go with it. */
static int open_session(struct probe_device *device, struct probe_outcome *out)
{
	if (!session.open) {
		if (fuse_file_open(&session.file, out))
			return -1;
		session.loop = -1;
		session.open = true;
	}
	return is_direct(device) && session.loop < 0 ? open_loop(out) : 0;
}

static int transfer(struct fuse_errand *errand)
{
	struct probe_buffer *buffer = errand->context;
	int fd = errand->fd < 0 ? fuse_file_reopen(errand->file) : errand->fd;
	ssize_t done;
	int error;

	if (fd < 0)
		return errno;
	errand->ready = true;
	if (buffer->lkey)
		done = pwrite(fd, buffer->addr, buffer->length, 0);
	else
		done = pread(fd, buffer->addr, buffer->length, 0);
	error = done < 0 ? errno : (size_t)done == buffer->length ? 0 : EIO;
	if (errand->fd < 0)
		close(fd);
	return error;
}

static int finish(struct probe_device *device)
{
	session.busy = false;
	device->held = 0;
	return fuse_errand_end(&session.errand);
}

static int pin(struct probe_device *device, struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (session.busy)
		return probe_broken(out, "%s: one transfer at a time", device->engine->name);
	/* No other use of it here: which way the transfer goes. */
	buffer->lkey = is_write(device);
	session.errand = (struct fuse_errand){
		.file = &session.file,
		.run = transfer,
		.context = buffer,
		.fd = is_direct(device) ? session.loop : -1,
	};
	if (fuse_errand_begin(&session.errand))
		return probe_refused(out, device->engine->name,
				     session.errand.error ? session.errand.error : EIO);
	session.busy = true;
	device->held = buffer->length;
	return 0;
}

static int check(struct probe_device *device, const struct probe_buffer *buffer,
		 struct probe_outcome *out)
{
	unsigned char *image = session.file.image;
	int error;

	/* The CPU writes first either way: that is when the kernel may give it another page. */
	probe_fill(buffer->addr, buffer->length, probe_next_seed());
	probe_fill(image, buffer->length, probe_next_seed());
	error = finish(device);
	if (error)
		return probe_broken(out, "%s: %s", device->engine->name, strerror(error));
	*(is_write(device) ? &out->device_stale : &out->cpu_stale) +=
		probe_differ(out, image, buffer->addr, buffer->length);
	return 0;
}

static void unpin(struct probe_device *device)
{
	if (device->held)
		finish(device);
}

#define ENGINE(label)                                                                              \
	{                                                                                          \
		.name = (label), .open = open_session, .pin = pin, .check = check, .unpin = unpin, \
		.close = unpin,                                                                    \
	}

const struct probe_engine probe_fuse_read = ENGINE("FUSE read");
const struct probe_engine probe_fuse_write = ENGINE("FUSE write");
const struct probe_engine probe_direct_read = ENGINE("O_DIRECT read");
const struct probe_engine probe_direct_write = ENGINE("O_DIRECT write");
