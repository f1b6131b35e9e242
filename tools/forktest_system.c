/* SPDX-License-Identifier: BSD-2-Clause */
/* What some hazards need of the machine, and how it is put back. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "forktest.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SWAP_BYTES ((off_t)64 << 20)
#define KSM "/sys/kernel/mm/ksm/"
#define KSM_UNMERGE 2

static struct {
	const char *path;
	long wanted;
	long was;
	bool more; /* than there is */
	bool changed;
} settings[] = {
	{ KSM "pages_to_scan", 5000, 0, false, false },
	{ KSM "sleep_millisecs", 0, 0, false, false },
	{ KSM "run", 1, 0, false, false },
	{ "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", 16, 0, true, false },
};

static struct {
	int number; /* of the loop device, or -1 */
	int loop;
	bool on;
} swap = { -1, -1, false };

static bool read_number(const char *path, long *number)
{
	FILE *file = fopen(path, "re");
	bool got = file && fscanf(file, "%ld", number) == 1;

	if (file)
		fclose(file);
	return got;
}

static bool write_number(const char *path, long number)
{
	FILE *file = fopen(path, "we");
	bool put = file && fprintf(file, "%ld\n", number) > 0;

	if (file)
		put = !fclose(file) && put;
	return put;
}

/* What mkswap(8) writes. */
static int format(int file)
{
	const uint32_t page = (uint32_t)sysconf(_SC_PAGESIZE);
	const uint32_t header[2] = { 1, (uint32_t)(SWAP_BYTES / page) - 1 };

	if (ftruncate(file, SWAP_BYTES) || pwrite(file, header, sizeof(header), 1024) < 0 ||
	    pwrite(file, "SWAPSPACE2", 10, page - 10) < 0)
		return -1;
	return 0;
}

/* In memory: no disk is written to. */
static void swap_begin(void)
{
	int file = memfd_create("forktest", MFD_CLOEXEC);
	char path[32];

	swap.number = probe_loop_add();
	if (file >= 0 && swap.number >= 0 && !format(file)) {
		swap.loop = probe_loop_attach(swap.number, file);
		snprintf(path, sizeof(path), "/dev/loop%d", swap.number);
		swap.on = swap.loop >= 0 && !swapon(path, 0);
	}
	if (!swap.on)
		fprintf(stderr, "rdmalloc forktest: no swap for the test: %s\n", strerror(errno));
	if (file >= 0)
		close(file);
}

static void swap_end(void)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/loop%d", swap.number);
	if (swap.on && swapoff(path))
		fprintf(stderr, "rdmalloc forktest: swapoff %s: %s\n", path, strerror(errno));
	if (swap.loop >= 0)
		close(swap.loop);
	if (swap.number >= 0)
		probe_loop_delete(swap.number);
}

void forktest_system_begin(void)
{
	struct sysinfo info;

	for (size_t i = 0; i < COUNT(settings); i++) {
		if (!read_number(settings[i].path, &settings[i].was))
			continue;
		settings[i].changed =
			write_number(settings[i].path,
				     settings[i].wanted + (settings[i].more ? settings[i].was : 0));
	}
	if (!sysinfo(&info) && !info.totalswap)
		swap_begin();
}

void forktest_system_end(void)
{
	swap_end();
	for (size_t i = COUNT(settings); i-- > 0;) {
		if (!settings[i].changed)
			continue;
		/* What KSM has merged stays so when it is only turned off. */
		if (!strcmp(settings[i].path, KSM "run") && !settings[i].was)
			write_number(settings[i].path, KSM_UNMERGE);
		if (!write_number(settings[i].path, settings[i].was))
			fprintf(stderr, "rdmalloc forktest: %s was %ld, and cannot be put back\n",
				settings[i].path, settings[i].was);
	}
}
