/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel says of itself and what may be changed at any time. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>

#include "internal.h"
#include "traits.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define SOFT_DIRTY(entry) ((entry) >> 55 & 1)

static bool read_number(long *number, const char *path)
{
	FILE *file = fopen(path, "re");
	bool got = file && fscanf(file, "%ld", number) == 1;

	if (file)
		fclose(file);
	return got;
}

/* "always [madvise] never": what is in brackets. */
static bool read_choice(char *word, size_t size, const char *path)
{
	FILE *file = fopen(path, "re");
	char line[256] = "";
	char *open;

	if (file && !fgets(line, sizeof(line), file))
		*line = '\0';
	if (file)
		fclose(file);
	open = strchr(line, '[');
	if (!open)
		return false;
	snprintf(word, size, "%.*s", (int)strcspn(open + 1, "]"), open + 1);
	return true;
}

bool probe_has_swap(void)
{
	struct sysinfo info;

	return !sysinfo(&info) && info.freeswap;
}

/* A kernel without soft-dirty tracking takes the word to begin anew, and does nothing. */
int probe_soft_dirty(void)
{
	volatile unsigned char *page = mmap(NULL, probe_page(), PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t entry;

	if (page == MAP_FAILED)
		return -1;
	*page = 1;
	probe_pagemap((void *)(uintptr_t)page, &entry, 1);
	munmap((void *)(uintptr_t)page, probe_page());
	if (!PROBE_PRESENT(entry))
		return -1;
	return SOFT_DIRTY(entry);
}

long probe_ksm(const char *name)
{
	char path[64];
	long value;

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	return read_number(&value, path) ? value : -1;
}

long probe_free_hugetlb(void)
{
	long pages;

	return read_number(&pages, "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") ?
		       pages :
		       0;
}

bool probe_thp(char *mode, size_t mode_size, char *path, size_t path_size)
{
	long bytes;

	/* Where the size has a file of its own, that counts unless it says "inherit". */
	if (read_number(&bytes, THP "hpage_pmd_size")) {
		snprintf(path, path_size, THP "hugepages-%ldkB/enabled", bytes >> 10);
		if (read_choice(mode, mode_size, path) && strcmp(mode, "inherit") != 0)
			return true;
	}
	snprintf(path, path_size, THP "enabled");
	return read_choice(mode, mode_size, path);
}

/* Higher bits: they are off but for those who ask. */
bool probe_thp_is_disabled(void)
{
	return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1;
}

bool probe_thp_is_off(char *why, size_t size)
{
	char mode[16], path[96];

	if (probe_thp(mode, sizeof(mode), path, sizeof(path)) && !strcmp(mode, "never"))
		snprintf(why, size, "THP is off: %s", path);
	else if (probe_thp_is_disabled())
		snprintf(why, size, "THP is off for this process: PR_SET_THP_DISABLE");
	else
		return false;
	return true;
}
