/* SPDX-License-Identifier: BSD-2-Clause */
/* Hazards that are not forks: what somebody does to memory, or to the process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"
#include "traits.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif
/* One to see a page, one to see that it does not change, one to merge it; and one under way. */
#define KSM_SCANS 5

/* Whether smaps says it of the mapping at addr: a line that begins with key has the word. */
static bool smaps_has(const void *addr, const char *key, const char *word)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	unsigned long lo, hi;
	bool here = false, has = false;
	char line[512];

	while (smaps && !has && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			here = (uintptr_t)addr >= lo && (uintptr_t)addr < hi;
		else if (here && !strncmp(line, key, strlen(key)))
			has = strstr(line, word);
	}
	if (smaps)
		fclose(smaps);
	return has;
}

static bool is_huge(const void *addr)
{
	return !smaps_has(addr, "AnonHugePages:", " 0 kB");
}

static int advise(const struct probe_buffer *buffer, size_t length, int advice, const char *name,
		  struct probe_outcome *out)
{
	if (!madvise(buffer->addr, length, advice))
		return 0;
	if (errno == EINVAL)
		return probe_skip(out, "%s: not on this memory, or not in this kernel", name);
	return probe_refused(out, name, errno);
}

static int purge(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	return advise(buffer, buffer->extent, MADV_DONTNEED, "MADV_DONTNEED", out);
}

static int protect(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (!mprotect(buffer->addr, buffer->extent, PROT_READ) &&
	    !mprotect(buffer->addr, buffer->extent, PROT_READ | PROT_WRITE))
		return 0;
	return probe_broken(out, "mprotect: %s", strerror(errno));
}

static int clear_refs(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
	ssize_t written;

	(void)buffer;
	if (fd < 0)
		return probe_skip(out, "clear_refs: this kernel has none");
	if (probe_soft_dirty() <= 0) {
		close(fd);
		return probe_skip(out, "clear_refs: this kernel does not track soft-dirty pages");
	}
	written = write(fd, "4", 1);
	close(fd);
	return written == 1 ? 0 : probe_refused(out, "clear_refs", errno);
}

static bool all(const struct probe_buffer *buffer, bool (*is)(uint64_t entry))
{
	uint64_t entry[PROBE_PAGES];

	probe_pagemap(buffer->addr, entry, PROBE_PAGES);
	for (size_t i = 0; i < PROBE_PAGES; i++)
		if (!is(entry[i]))
			return false;
	return true;
}

static bool is_away(uint64_t entry)
{
	return !PROBE_PRESENT(entry);
}

static bool is_shared(uint64_t entry)
{
	return PROBE_PRESENT(entry) && !PROBE_EXCLUSIVE(entry);
}

static int ask_pageout(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (!probe_has_swap())
		return probe_skip(out, "pageout: there is no swap");
	return advise(buffer, buffer->extent, MADV_PAGEOUT, "MADV_PAGEOUT", out);
}

static int pageout(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	/* Pages that another processor has just touched come later. */
	for (int tries = 0; tries < 100; tries++) {
		if (ask_pageout(buffer, out))
			return -1;
		if (all(buffer, is_away))
			return 0;
		sched_yield();
	}
	return probe_skip(out, "pageout: the kernel keeps the pages");
}

/* The advice for half of a huge page splits it, and what is zero becomes the zero page. */
static int zero_split(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (buffer->extent < PROBE_HUGE)
		return probe_skip(out, "zero-filled THP: for huge pages only");
	memset(buffer->addr, 0, buffer->extent);
	if (!is_huge(buffer->addr))
		return probe_skip(out, "zero-filled THP: this is no transparent huge page");
	return advise(buffer, buffer->extent / 2, MADV_COLD, "MADV_COLD", out);
}

static int await_merge(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	long start = probe_ksm("full_scans");

	if (!smaps_has(buffer->addr, "VmFlags:", " mg"))
		return probe_skip(out, "KSM: does not take this kind of memory");
	/* What it does not merge in so many scans it never will: that is for the check to judge. */
	while (!all(buffer, is_shared) && probe_ksm("full_scans") - start < KSM_SCANS) {
		if (probe_ksm("run") != 1)
			return probe_skip(out, "KSM: somebody turned it off");
		nanosleep(&nap, NULL);
	}
	return 0;
}

static int need_ksm(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (probe_ksm("run") < 0)
		return probe_skip(out, "KSM: this kernel has none");
	if (probe_ksm("run") != 1 || probe_ksm("sleep_millisecs") != 0)
		return probe_skip(out, "KSM: off, or too slow to wait for");
	/* Pages of equal bytes are what it looks for. */
	memset(buffer->addr, (int)(1 + probe_next_seed() % 255), buffer->length);
	return 0;
}

static int merge(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (need_ksm(buffer, out) ||
	    advise(buffer, buffer->extent, MADV_MERGEABLE, "MADV_MERGEABLE", out))
		return -1;
	return await_merge(buffer, out);
}

static int merge_process(const struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (need_ksm(buffer, out))
		return -1;
	if (prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0))
		return probe_skip(out, "KSM: for a process as a whole since Linux 6.4 only");
	return await_merge(buffer, out);
}

static void unmerge_process(void)
{
	prctl(PR_SET_MEMORY_MERGE, 0, 0, 0, 0);
}

const struct probe_hazard probe_purge = { .name = "MADV_DONTNEED", .strike = purge };
const struct probe_hazard probe_protect = { .name = "mprotect", .strike = protect };
const struct probe_hazard probe_clear_refs = { .name = "soft-dirty", .strike = clear_refs };
const struct probe_hazard probe_pageout = {
	.name = "paged out",
	.when = PROBE_PREPARED,
	.strike = pageout,
};
const struct probe_hazard probe_pinned_pageout = {
	.name = "pinned, paged out",
	.strike = ask_pageout,
};
const struct probe_hazard probe_zero_split = {
	.name = "zero THP split",
	.when = PROBE_PREPARED,
	.strike = zero_split,
};
const struct probe_hazard probe_merge = {
	.name = "KSM, range",
	.when = PROBE_PREPARED,
	.strike = merge,
};
const struct probe_hazard probe_merge_process = {
	.name = "KSM, process",
	.when = PROBE_PREPARED,
	.strike = merge_process,
	.undo = unmerge_process,
};
