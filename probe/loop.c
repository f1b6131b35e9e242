/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* Beyond what a machine has of its own. */
enum { FIRST = 200, LAST = 299 };

static int reserved = -1;

static int control(void)
{
	return open("/dev/loop-control", O_RDWR | O_CLOEXEC);
}

int probe_loop_add(void)
{
	int fd = control();
	int number = -1;
	int error;

	if (fd < 0)
		return -1;
	for (long i = FIRST; i <= LAST && number < 0; i++) {
		number = ioctl(fd, LOOP_CTL_ADD, i);
		if (number < 0 && errno != EEXIST)
			break;
	}
	error = errno;
	close(fd);
	errno = error;
	return number;
}

void probe_loop_delete(int number)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	int fd = control();

	/* Busy: the kernel takes its file away in its own time. */
	for (int tries = 0; fd >= 0 && tries < 2000; tries++) {
		if (ioctl(fd, LOOP_CTL_REMOVE, (long)number) >= 0 || errno != EBUSY)
			break;
		nanosleep(&nap, NULL);
	}
	if (fd >= 0)
		close(fd);
}

int probe_loop_reserve(void)
{
	reserved = probe_loop_add();
	return reserved < 0 ? -1 : 0;
}

void probe_loop_remove(void)
{
	if (reserved >= 0)
		probe_loop_delete(reserved);
	reserved = -1;
}

int probe_loop_reserved(void)
{
	return reserved;
}

int probe_loop_open(int number)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	/* Locked, udev does not read it when it comes up. */
	if (fd >= 0)
		flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

int probe_loop_configure(int loop, int file)
{
#ifdef LOOP_CONFIGURE
	struct loop_config config = {
		.fd = (uint32_t)file,
		.info = { .lo_flags = LO_FLAGS_AUTOCLEAR },
	};

	return ioctl(loop, LOOP_CONFIGURE, &config) ? errno : 0;
#else
	(void)loop, (void)file;
	return ENOSYS;
#endif
}

int probe_loop_attach(int number, int file)
{
	int loop = probe_loop_open(number);
	int error = loop < 0 ? errno : probe_loop_configure(loop, file);

	if (!error)
		return loop;
	if (loop >= 0)
		close(loop);
	errno = error;
	return -1;
}
