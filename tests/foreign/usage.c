/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * usage FILE COMMAND...: runs it, and writes its status, CPU microseconds and peak KiB to FILE, of all
 * its children, too. In C, because a process begins with the peak of the one that made it.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct rusage use;
	int status = 0;
	FILE *out;
	pid_t pid;

	if (argc < 3)
		return 2;
	pid = fork();
	if (!pid) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &use) != pid)
		return 1;
	out = fopen(argv[1], "we");
	if (!out)
		return 1;
	fprintf(out, "%d %ld %ld\n", status,
		(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000L + use.ru_utime.tv_usec +
			use.ru_stime.tv_usec,
		use.ru_maxrss);
	return fclose(out) != 0;
}
