/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A library registers a fork handler before anybody else, and touches registered memory
 * in the child. With the preload's handlers behind it, it would step into a hole: shown with
 * the step dropped that puts them first.
 */
#include "start.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern unsigned char *volatile handler_block;
extern volatile unsigned handler_saw;

int main(int argc, char **argv)
{
	unsigned char *block;
	int status;
	pid_t pid;

	(void)argc;
	t_preload(argv, true, NULL);
	block = malloc(T_MIB);
	T_CHECK(block);
	block[0] = 77;
	t_dontfork(block, T_MIB);
	handler_block = block;
	pid = fork();
	if (!pid)
		_exit(handler_saw == 77 ? T_PASS : T_FAIL);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status, "the library's handler ended with %#x", status);
	t_dofork(block, T_MIB);
	free(block);
	return T_PASS;
}
