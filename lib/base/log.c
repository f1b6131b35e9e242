/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/sandbox.h"

#define LINE_MAX_BYTES 512

static enum rdm_log_level threshold = RDM_LOG_WARN;

void rdm_log_set_level(enum rdm_log_level level)
{
	rdm_assert(level <= RDM_LOG_INFO);
	threshold = level;
}

bool rdm_log_is_on(enum rdm_log_level level)
{
	return level <= threshold;
}

/* What stderr was at the start. */
static struct {
	bool known, there;
	dev_t device;
	ino_t inode;
} first;

_Atomic bool rdm_sandbox_entered;

__attribute__((constructor(101))) static void note_stderr(void)
{
	struct stat info;

	if (first.known)
		return;
	first.there = !fstat(STDERR_FILENO, &info);
	if (first.there) {
		first.device = info.st_dev;
		first.inode = info.st_ino;
	}
	first.known = true;
}

/*
 * Whether what is there now is meant for lines: a program that closes descriptor 2 gets it again
 * for a file or a socket of its own, where a line of ours would be damage. One that wants to have
 * them elsewhere gives a terminal, a pipe, or a file that is appended to.
 */
static bool is_for_lines(int fd, const struct stat *info)
{
	if (info->st_dev == first.device && info->st_ino == first.inode)
		return true;
#ifndef RDM_PRELOAD
	/* Who links the library knows of it, and may catch its lines in a file without a name. */
	if (!info->st_nlink)
		return true;
#endif
	if (S_ISREG(info->st_mode))
		return fcntl(fd, F_GETFL) & O_APPEND;
	return S_ISCHR(info->st_mode) || S_ISFIFO(info->st_mode);
}

bool rdm_log_is_stderr(int fd)
{
	static _Atomic bool last = true;
	struct stat info;
	int saved = errno;

	/* Somebody's constructor may be earlier. */
	note_stderr();
	if (rdm_sandbox_is_entered())
		return first.there && (fd != STDERR_FILENO || last);
	last = first.there && !fstat(fd, &info) && is_for_lines(fd, &info);
	errno = saved;
	return last;
}

static void emit(const char *format, va_list args)
{
	static const char prefix[] = "rdmalloc: ";
	char line[LINE_MAX_BYTES];
	size_t used = sizeof(prefix) - 1;
	int saved = errno;
	int wanted;

	memcpy(line, prefix, used);
	/* glibc's vsnprintf allocates nothing for integers and strings, and takes no lock. */
	wanted = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	if (wanted > 0)
		used += (size_t)wanted < sizeof(line) - used - 1 ? (size_t)wanted :
								   sizeof(line) - used - 2;
	line[used++] = '\n';
	/* Not by libc's write(), which is a cancellation point. There is nobody to tell when stderr is closed. */
	if (rdm_log_is_stderr(STDERR_FILENO))
		(void)!syscall(SYS_write, STDERR_FILENO, line, used);
	errno = saved;
}

void rdm_log(enum rdm_log_level level, const char *format, ...)
{
	va_list args;

	rdm_assert(level > RDM_LOG_SILENT && level <= RDM_LOG_INFO);
	rdm_assert(format);
	if (!rdm_log_is_on(level))
		return;
	va_start(args, format);
	emit(format, args);
	va_end(args);
}

void rdm_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	emit(format, args);
	va_end(args);
	abort();
}
