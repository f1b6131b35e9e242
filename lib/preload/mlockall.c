/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mlockall and munlockall. The kernel counts all addresses there, used or not, and the library has
 * more of them than it uses. Under a limit the program's own memory is locked then, and the
 * library's records are not; and a program that may lock little, and wants all that comes to be
 * locked, has its large blocks from the next malloc.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/claim.h"
#include "memory/locked.h"
#include "memory/meta.h"
#include "preload/preload.h"

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#define MAPS_MAX 64

/* Of this library, whose tables are as sparse as jemalloc's others. */
extern char __bss_start[] __attribute__((visibility("hidden")));
extern char _end[] __attribute__((visibility("hidden")));

/* Whether the kernel counts what is locked: it does for all who lack CAP_IPC_LOCK. Unknown: it does. */
static bool is_counted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };
	struct rlimit limit;

	if (!getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur == RLIM_INFINITY)
		return false;
	return syscall(SYS_capget, &header, data) || !(data[0].effective & 1U << CAP_IPC_LOCK);
}

/* /proc/self/maps, line by line. */
struct maps {
	int fd;
	size_t from, to;
	char text[1024];
};

/* The next mapping; false: there is none, or it cannot be read. */
static bool next_mapping(struct maps *maps, uintptr_t *start, uintptr_t *end, char mode[5])
{
	for (;;) {
		char *line = maps->text + maps->from;
		char *newline = memchr(line, '\n', maps->to - maps->from);
		ssize_t got;

		if (newline) {
			*newline = '\0';
			maps->from = (size_t)(newline + 1 - maps->text);
			*start = strtoul(line, &line, 16);
			*end = *line == '-' ? strtoul(line + 1, &line, 16) : 0;
			for (unsigned i = 0; i < 4; i++)
				mode[i] = *line == ' ' ? line[1 + i] : '-';
			return *end > *start;
		}
		memmove(maps->text, line, maps->to - maps->from);
		maps->to -= maps->from;
		maps->from = 0;
		/* Of a longer line only the name is cut. */
		if (maps->to == sizeof(maps->text))
			maps->text[maps->to - 1] = '\n';
		else if ((got = read(maps->fd, maps->text + maps->to,
				     sizeof(maps->text) - maps->to)) > 0)
			maps->to += (size_t)got;
		else
			return false;
	}
}

/* The library's own records, in a list that has room for all. */
static size_t list_own(struct rdm_meta_range own[MAPS_MAX + 2])
{
	size_t count = rdm_meta_maps(own, MAPS_MAX);
	uintptr_t first, end;

	own[count++] = (struct rdm_meta_range){ __bss_start, (size_t)(_end - __bss_start) };
	if (rdm_claim_tables(&first, &end))
		own[count++] = (struct rdm_meta_range){ (char *)first, end - first };
	return count;
}

/* Where the first part of a range ends, which is one of them or is not. */
static bool is_own(uintptr_t start, uintptr_t *end)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	struct rdm_meta_range own[MAPS_MAX + 2];
	size_t count = list_own(own);

	for (size_t i = 0; i < count; i++) {
		/* Whole pages of it: what shares one is the program's, too. */
		uintptr_t first = ((uintptr_t)own[i].addr + page - 1) & ~(page - 1);
		uintptr_t last = ((uintptr_t)own[i].addr + own[i].length) & ~(page - 1);

		if (start >= first && start < last) {
			*end = *end < last ? *end : last;
			return true;
		}
		if (first > start && first < *end)
			*end = first;
	}
	return false;
}

/* Once more without making the pages: some cannot be made, and mlockall() does not mind. */
static int lock_range(uintptr_t start, size_t length, int flags)
{
	int on_fault = flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0;

	if (!syscall(SYS_mlock2, start, length, on_fault) ||
	    !syscall(SYS_mlock2, start, length, MLOCK_ONFAULT))
		return 0;
	return errno;
}

/* Calls for all parts of the program's own memory that it can read; adds up their bytes. */
static int for_each_part(int (*call)(uintptr_t, size_t, int), int flags, size_t *bytes)
{
	struct maps maps = { .fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC) };
	uintptr_t start, end, until;
	char mode[5] = "";
	int error = maps.fd < 0 ? errno : 0;

	*bytes = 0;
	while (!error && next_mapping(&maps, &start, &end, mode))
		for (; !error && start < end; start = until) {
			until = end;
			/* The last addresses of all are the kernel's. */
			if (is_own(start, &until) || mode[0] != 'r' || end > UINTPTR_MAX / 2)
				continue;
			*bytes += until - start;
			if (call)
				error = call(start, until - start, flags);
		}
	if (maps.fd >= 0)
		close(maps.fd);
	return error;
}

/* What mlockall() would do if the library had no records. 0 or an errno value: then nothing is locked. */
static int lock_current(int flags)
{
	struct rlimit limit;
	size_t bytes;
	int error = for_each_part(NULL, flags, &bytes);

	if (error || getrlimit(RLIMIT_MEMLOCK, &limit) || bytes > limit.rlim_cur)
		return ENOMEM;
	return for_each_part(lock_range, flags, &bytes);
}

static int next_mlockall(int flags)
{
	return (int)syscall(SYS_mlockall, flags);
}

RDM_EXPORT int mlockall(int flags)
{
	int saved = errno, rest = flags & ~MCL_CURRENT;

	if (next_mlockall(flags)) {
		if (errno != ENOMEM || !(flags & MCL_CURRENT))
			return -1;
		errno = lock_current(flags);
		if (errno)
			return -1;
		if (flags & MCL_FUTURE && next_mlockall(rest))
			return -1;
		errno = saved;
	}
	rdm_locked_note(flags & MCL_FUTURE);
	rdm_preload_stand_back(flags & MCL_FUTURE && is_counted());
	return 0;
}

RDM_EXPORT int munlockall(void)
{
	if (syscall(SYS_munlockall))
		return -1;
	rdm_locked_note(false);
	rdm_preload_stand_back(false);
	return 0;
}
