/* SPDX-License-Identifier: BSD-2-Clause */
#include "rounds.h"

#include <err.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int rounds_in_two(void (*run)(int other, bool is_first))
{
	int ends[2], status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		err(1, "socketpair");
	child = fork();
	if (child < 0)
		err(1, "fork");
	run(ends[!child], !!child);
	if (!child)
		return 0;
	if (waitpid(child, &status, 0) != child)
		err(1, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

void rounds_fill(unsigned char *buffer, unsigned round)
{
	for (unsigned i = 0; i < ROUND_BYTES; i++)
		buffer[i] = (unsigned char)(i + round * 7 + 1);
}

bool rounds_is_filled(const unsigned char *buffer, unsigned round)
{
	for (unsigned i = 0; i < ROUND_BYTES; i++)
		if (buffer[i] != (unsigned char)(i + round * 7 + 1))
			return false;
	return true;
}

pid_t rounds_begin_child(unsigned char *buffer)
{
	pid_t child = fork();

	if (child < 0)
		err(1, "fork");
	if (!child) {
		memset(buffer, 0xcc, ROUND_BYTES);
		_exit(0);
	}
	return child;
}

void rounds_end_child(pid_t child)
{
	int status;

	if (waitpid(child, &status, 0) != child || status)
		errx(1, "a child did not end well");
}

void rounds_part(int other, void (*serve)(void))
{
	char done = 0;

	if (write(other, &done, 1) != 1)
		err(1, "the other side");
	while (recv(other, &done, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
		serve();
}
