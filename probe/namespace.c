/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "internal.h"

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0)
		return -1;
	written = write(fd, text, strlen(text));
	close(fd);
	return written < 0 ? -1 : 0;
}

int probe_enter_namespaces(void)
{
	unsigned uid = getuid(), gid = getgid();
	char users[64], groups[64];

	if (!uid)
		return 0;
	snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -1;
	write_file("/proc/self/setgroups", "deny");
	return write_file("/proc/self/uid_map", users) || write_file("/proc/self/gid_map", groups) ?
		       -1 :
		       0;
}

static void bring_up_lo(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ioctl(fd, SIOCSIFFLAGS, &lo);
	close(fd);
}

/* A network of this process's own, with nothing but lo. */
static int make_network(void)
{
	if (unshare(CLONE_NEWNET))
		return -1;
	bring_up_lo();
	return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

int probe_in_own_network(int (*open_sockets)(void *argument), void *argument)
{
	static int network = -1;
	int before = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	int error;

	if (before < 0)
		return errno;
	if (network < 0)
		network = make_network();
	error = network < 0 || setns(network, CLONE_NEWNET) ? errno : open_sockets(argument);
	/* In a user namespace there is no way back, and nothing to go back for. */
	if (setns(before, CLONE_NEWNET) && errno != EPERM && !error)
		error = errno;
	close(before);
	return error;
}
