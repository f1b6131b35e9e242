/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

int probe_child_fork(struct probe_child *child, const struct probe_child *elder, unsigned elders)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	child->pid = fork();
	if (child->pid) {
		int error = errno;

		close(fd[1]);
		child->fd = fd[0];
		if (child->pid > 0)
			return 1;
		close(fd[0]);
		errno = error;
		return -1;
	}
	/* With the parent's ends in nobody else's hands, its death ends all children. */
	for (unsigned i = 0; i < elders; i++)
		close(elder[i].fd);
	close(fd[0]);
	child->fd = fd[1];
	return 0;
}

void probe_tell(int fd, unsigned char byte)
{
	/* Who is gone is found out by whoever waits for it. */
	while (send(fd, &byte, 1, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

int probe_hear(int fd)
{
	unsigned char byte;
	ssize_t n;

	do {
		n = recv(fd, &byte, 1, 0);
	} while (n < 0 && errno == EINTR);
	return n == 1 ? byte : -1;
}

void probe_child_reap(struct probe_child *child)
{
	close(child->fd);
	while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static sigjmp_buf missed;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(missed, 1);
}

static enum probe_view look_at(const unsigned char *page, const unsigned char *was,
			       const unsigned char *zeros)
{
	if (sigsetjmp(missed, 1))
		return PROBE_VIEW_HOLE;
	if (!memcmp(page, was, probe_page()))
		return PROBE_VIEW_BYTES;
	return memcmp(page, zeros, probe_page()) ? PROBE_VIEW_OTHER : PROBE_VIEW_ZEROS;
}

static enum probe_view look(const unsigned char *addr, const unsigned char *was,
			    const unsigned char *zeros, size_t length)
{
	struct sigaction fault = { .sa_handler = on_fault };
	enum probe_view view;

	sigaction(SIGSEGV, &fault, NULL);
	view = look_at(addr, was, zeros);
	for (size_t at = probe_page(); at < length; at += probe_page())
		if (look_at(addr + at, was + at, zeros) != view)
			return PROBE_VIEW_OTHER;
	return view;
}

static enum probe_view fork_and_look(unsigned char *addr, const unsigned char *was,
				     const unsigned char *zeros, size_t length)
{
	struct probe_child child;
	int view;

	switch (probe_child_fork(&child, NULL, 0)) {
	case -1:
		return PROBE_VIEW_ERROR;
	case 0:
		if (probe_hear(child.fd) == 0)
			probe_tell(child.fd, (unsigned char)look(addr, was, zeros, length));
		_exit(0);
	}
	probe_fill(addr, length, probe_next_seed());
	probe_tell(child.fd, 0);
	view = probe_hear(child.fd);
	probe_child_reap(&child);
	if (view >= 0)
		return (enum probe_view)view;
	errno = ECHILD;
	return PROBE_VIEW_ERROR;
}

enum probe_view probe_child_view(void *addr, size_t length)
{
	unsigned char *was = malloc(length);
	unsigned char *zeros = calloc(1, probe_page());
	enum probe_view view = PROBE_VIEW_ERROR;

	if (was && zeros) {
		probe_fill(addr, length, probe_next_seed());
		memcpy(was, addr, length);
		view = fork_and_look(addr, was, zeros, length);
	}
	free(zeros);
	free(was);
	return view;
}
