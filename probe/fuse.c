/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

/* The C library's header has them only since glibc 2.36. */
enum { SET_STRING = 1, CREATE = 6 };

/* A kernel wants room for the longest write and its header, and at least 8 KiB. */
#define REQUEST_BYTES (FUSE_FILE_BYTES + 4096)
#define DESCRIPTORS 256

static int reply(const struct fuse_file *file, const struct fuse_in_header *in, int error,
		 const void *data, size_t length)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + length),
		.error = -error,
		.unique = in->unique,
	};
	struct iovec part[2] = {
		{ .iov_base = &out, .iov_len = sizeof(out) },
		{ .iov_base = (void *)(uintptr_t)data, .iov_len = length },
	};

	/* ENOENT: whoever asked was killed. */
	if (writev(file->dev, part, length ? 2 : 1) >= 0 || errno == ENOENT)
		return 0;
	return errno;
}

static int reply_init(const struct fuse_file *file, const struct fuse_in_header *in)
{
	const struct fuse_init_in *asked = (const void *)(in + 1);
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = asked->max_readahead,
		.max_write = FUSE_FILE_BYTES,
	};

	return reply(file, in, 0, &out, sizeof(out));
}

static int reply_attributes(const struct fuse_file *file, const struct fuse_in_header *in)
{
	struct fuse_attr_out out = {
		.attr_valid = 3600,
		.attr = {
			.ino = FUSE_ROOT_ID,
			.size = FUSE_FILE_BYTES,
			.mode = S_IFREG | 0600,
			.nlink = 1,
			.uid = getuid(),
			.gid = getgid(),
		},
	};

	return reply(file, in, 0, &out, sizeof(out));
}

static int reply_read(const struct fuse_file *file, const struct fuse_in_header *in)
{
	const struct fuse_read_in *asked = (const void *)(in + 1);
	size_t length = asked->size;

	if (asked->offset >= FUSE_FILE_BYTES)
		return reply(file, in, 0, NULL, 0);
	if (length > FUSE_FILE_BYTES - asked->offset)
		length = FUSE_FILE_BYTES - asked->offset;
	return reply(file, in, 0, file->image + asked->offset, length);
}

static int reply_write(const struct fuse_file *file, const struct fuse_in_header *in)
{
	const struct fuse_write_in *asked = (const void *)(in + 1);
	struct fuse_write_out out = { .size = asked->size };

	if (asked->offset > FUSE_FILE_BYTES || asked->size > FUSE_FILE_BYTES - asked->offset)
		return reply(file, in, ENOSPC, NULL, 0);
	memcpy(file->image + asked->offset, asked + 1, asked->size);
	return reply(file, in, 0, &out, sizeof(out));
}

/* The data of a write is taken from the writer's pages here, no sooner. */
static int answer(const struct fuse_file *file)
{
	static _Alignas(struct fuse_in_header) unsigned char request[REQUEST_BYTES];
	const struct fuse_in_header *in = (const void *)request;
	const struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO };
	ssize_t got = read(file->dev, request, sizeof(request));

	/* ENOENT: whoever asked was killed before we looked. */
	if (got < 0)
		return errno == EINTR || errno == EAGAIN || errno == ENOENT ? 0 : errno;
	switch (in->opcode) {
	case FUSE_INIT:
		return reply_init(file, in);
	case FUSE_GETATTR:
		return reply_attributes(file, in);
	case FUSE_OPEN:
		return reply(file, in, 0, &opened, sizeof(opened));
	case FUSE_READ:
		return reply_read(file, in);
	case FUSE_WRITE:
		return reply_write(file, in);
	case FUSE_RELEASE:
	case FUSE_FLUSH:
	case FUSE_FSYNC:
		return reply(file, in, 0, NULL, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return 0;
	default:
		return reply(file, in, ENOSYS, NULL, 0);
	}
}

/*
 * If we are killed, requests fail when nobody has dev open any more; so a thread that
 * waits for an answer, and cannot be killed meanwhile, must not.
 */
static int drop_descriptors(const struct fuse_errand *errand)
{
	if (unshare(CLONE_FILES))
		return errno;
	for (int fd = 3; fd < DESCRIPTORS; fd++)
		if (fd != errand->fd && fd != errand->done && fd != errand->file->mount)
			syscall(SYS_close, fd);
	return 0;
}

static void *run(void *argument)
{
	struct fuse_errand *errand = argument;

	errand->error = drop_descriptors(errand);
	if (!errand->error)
		errand->error = errand->run(errand);
	eventfd_write(errand->done, 1);
	return NULL;
}

/* 1: it is over. 0: a request waits. */
static int await(const struct fuse_errand *errand)
{
	struct pollfd fd[2] = {
		{ .fd = errand->done, .events = POLLIN },
		{ .fd = errand->file->dev, .events = POLLIN },
	};

	do {
		while (poll(fd, 2, -1) < 0)
			;
	} while (!fd[0].revents && !fd[1].revents);
	return !fd[1].revents;
}

static int finish(struct fuse_errand *errand)
{
	pthread_join(errand->thread, NULL);
	close(errand->done);
	return errand->error;
}

/* Nobody will answer any more: without this the thread would wait for ever. */
static void abandon(struct fuse_file *file)
{
	close(file->dev);
	file->dev = -1;
}

int fuse_errand_begin(struct fuse_errand *errand)
{
	errand->done = eventfd(0, EFD_CLOEXEC);
	errand->error = errand->done < 0 ? errno : 0;
	if (!errand->error) {
		errand->error = pthread_create(&errand->thread, NULL, run, errand);
		if (errand->error)
			close(errand->done);
	}
	if (errand->error)
		return 1;
	while (!await(errand)) {
		if (errand->ready)
			return 0;
		if (answer(errand->file))
			abandon(errand->file);
	}
	finish(errand);
	return 1;
}

int fuse_errand_end(struct fuse_errand *errand)
{
	while (!await(errand))
		if (answer(errand->file))
			abandon(errand->file);
	return finish(errand);
}

int fuse_file_reopen(const struct fuse_file *file)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/thread-self/fd/%d", file->mount);
	return open(path, O_RDWR | O_CLOEXEC);
}

#ifdef SYS_fsopen

static int set_number(int fs, const char *key, const char *format, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), format, value);
	return (int)syscall(SYS_fsconfig, fs, SET_STRING, key, text, 0);
}

/* A mount that is nowhere in the tree: its descriptor, or -1. */
static int mount_nowhere(int dev)
{
	int fs = (int)syscall(SYS_fsopen, "fuse", 1);
	int mount = -1;
	int error;

	if (fs < 0)
		return -1;
	if (!set_number(fs, "fd", "%u", (unsigned)dev) &&
	    !set_number(fs, "rootmode", "%o", S_IFREG) &&
	    !set_number(fs, "user_id", "%u", getuid()) &&
	    !set_number(fs, "group_id", "%u", getgid()) &&
	    !syscall(SYS_fsconfig, fs, CREATE, NULL, NULL, 0))
		mount = (int)syscall(SYS_fsmount, fs, 1, 0);
	error = errno;
	close(fs);
	errno = error;
	return mount;
}

#else

static int mount_nowhere(int dev)
{
	(void)dev;
	errno = ENOSYS;
	return -1;
}

#endif

static int skip_mount(struct probe_outcome *out, int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
		return probe_skip(out, "FUSE: not permitted to mount (no root, and no user "
				       "namespace)");
	case ENODEV:
	case ENOSYS:
		return probe_skip(out, "FUSE: this kernel has none, or no fsopen(2)");
	default:
		return probe_broken(out, "FUSE: mounting: %s", strerror(error));
	}
}

int fuse_file_open(struct fuse_file *file, struct probe_outcome *out)
{
	*file = (struct fuse_file){ .dev = -1, .mount = -1 };
	file->image = calloc(1, FUSE_FILE_BYTES);
	if (!file->image)
		return probe_refused(out, "FUSE", ENOMEM);
	file->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (file->dev < 0)
		probe_skip(out, "FUSE: /dev/fuse: %s", strerror(errno));
	else
		file->mount = mount_nowhere(file->dev);
	if (file->mount >= 0)
		return 0;
	if (file->dev >= 0) {
		skip_mount(out, errno);
		close(file->dev);
	}
	free(file->image);
	return -1;
}
