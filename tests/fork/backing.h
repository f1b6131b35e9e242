/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_BACKING_H
#define TEST_BACKING_H

/* One program for each backing, which is the end of its name: policy_hugetlb; else "anon". */

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static inline bool t_named(const char *end)
{
	const char *found = strrchr(program_invocation_short_name, '_');

	return found && !strcmp(found + 1, end);
}

static inline const char *t_backing_name(void)
{
	return t_named("shared") ? "shared" : t_named("hugetlb") ? "hugetlb" : "anon";
}

/* What the program is for; whether there is such memory is not known. */
static inline unsigned t_backing_wanted(void)
{
	return t_named("shared")  ? RDM_BACKING_SHARED :
	       t_named("hugetlb") ? RDM_BACKING_HUGETLB :
				    RDM_BACKING_ANON;
}

static inline long hugetlb_pages(long set)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", set < 0 ? "re" : "we");
	long now = -1;

	if (!file)
		return -1;
	if (set < 0 ? fscanf(file, "%ld", &now) != 1 : fprintf(file, "%ld\n", set) < 0)
		now = -1;
	fclose(file);
	return now;
}

/* Goes on in a child; this process restores the machine's setting, whatever happens there. */
static inline void hugetlb_borrow(long pages)
{
	/* The setting is the machine's: one test at a time. */
	int lock = open("/proc/sys/vm/nr_hugepages", O_RDONLY | O_CLOEXEC);
	long before;
	int status = 0;
	pid_t pid;

	T_CHECK(lock >= 0 && !flock(lock, LOCK_EX));
	before = hugetlb_pages(-1);
	hugetlb_pages(before + pages);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid)
		return;
	T_CHECK(waitpid(pid, &status, 0) == pid);
	hugetlb_pages(before);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : T_FAIL);
}

/* The backing's pages are there, or the test is skipped. */
static inline unsigned t_backing(void)
{
	enum { NEED = 48 };
	char line[128];
	long unused = 0, size = 0;
	FILE *meminfo;

	if (t_backing_wanted() != RDM_BACKING_HUGETLB)
		return t_backing_wanted();
	hugetlb_borrow(NEED);
	meminfo = fopen("/proc/meminfo", "re");
	T_CHECK(meminfo);
	while (fgets(line, sizeof(line), meminfo)) {
		sscanf(line, "HugePages_Free: %ld", &unused);
		sscanf(line, "Hugepagesize: %ld", &size);
	}
	fclose(meminfo);
	if (unused < NEED || size * 1024 != (long)T_SLAB)
		t_skip("%ld free hugetlb pages of %ld KiB, the test needs %d of 2048 "
		       "(vm.nr_hugepages)",
		       unused, size, NEED);
	return RDM_BACKING_HUGETLB;
}

/* Plays a test with each policy in turn. */
static inline int t_each_policy(void (*play)(unsigned backing, unsigned policy))
{
	unsigned backing = t_backing();

	play(backing, RDM_FORK_HOLE);
	play(backing, RDM_FORK_ZERO);
	play(backing, RDM_FORK_COPY);
	return T_PASS;
}

#endif
