/* SPDX-License-Identifier: BSD-2-Clause */
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "check.h"
#include "base/conf.h"
#include "rdmalloc.h"
#include "read.h"
#include "traits.h"

#define THP "/sys/kernel/mm/transparent_hugepage/"

#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68
#endif

void check_thp(struct report *report)
{
	char mode[32], path[128];

	if (!probe_thp(mode, sizeof(mode), path, sizeof(path))) {
		report_found(report, IS_NOTE, "this kernel has no transparent huge pages");
		return;
	}
	if (!strcmp(mode, "never")) {
		report_found(report, IS_WARNING,
			     "never: pools have base pages, three times as slow to make");
		advise(report, "allow huge pages where they are asked for");
		advise_write(report, "madvise", path);
		return;
	}
	if (probe_thp_is_disabled()) {
		report_found(report, IS_WARNING, "%s, but off for this process and its children",
			     mode);
		advise(report, "somebody above called prctl(PR_SET_THP_DISABLE): find out who");
		return;
	}
	report_found(report, IS_FINE, "%s", mode);
}

void check_shmem_thp(struct report *report)
{
	bool used = rdm_conf()->backing == RDM_BACKING_SHARED;
	char mode[32];

	if (!file_choice(mode, sizeof(mode), THP "shmem_enabled")) {
		report_found(report, IS_NOTE, "this kernel has no huge pages for shared memory");
		return;
	}
	if (strcmp(mode, "never") != 0 && strcmp(mode, "deny") != 0) {
		report_found(report, IS_FINE, "%s", mode);
		return;
	}
	report_found(report, used ? IS_WARNING : IS_NOTE,
		     "%s: pools with backing:shared have base pages", mode);
	advise(report, "for such pools, allow huge pages where asked for");
	advise_write(report, "advise", THP "shmem_enabled");
}

static bool read_pool(const char *directory, const char *name, unsigned long long *number)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return file_number(number, path);
}

/* ".../node/node0/hugepages/hugepages-2048kB". Returns its pages. */
static unsigned long long show_pool(struct report *report, const char *directory)
{
	const char *node = strstr(directory, "/node/node");
	unsigned long long kib = strtoull(strstr(directory, "hugepages-") + 10, NULL, 10);
	unsigned long long all = 0, available = 0;

	if (!read_pool(directory, "nr_hugepages", &all))
		return 0;
	read_pool(directory, "free_hugepages", &available);
	report_found(report,
		     available ? IS_FINE :
		     all       ? IS_WARNING :
				 IS_NOTE,
		     "node %d: %llu of %s, %llu free", node ? atoi(node + 10) : 0, all,
		     bytes_text(kib << 10), available);
	if (all && !available)
		advise(report, "all are in use, or reserved: add some");
	return all;
}

/* The sizes that some node has pages of, at each node. */
static unsigned long long show_pools(struct report *report, const char *pattern)
{
	unsigned long long pages = 0, of_size;
	glob_t sizes, nodes;
	char path[PATH_MAX];

	if (glob("/sys/kernel/mm/hugepages/hugepages-*", 0, NULL, &sizes))
		return 0;
	for (size_t i = 0; i < sizes.gl_pathc; i++) {
		if (!read_pool(sizes.gl_pathv[i], "nr_hugepages", &of_size) || !of_size)
			continue;
		pages += of_size;
		snprintf(path, sizeof(path), "%s/%s", pattern, strrchr(sizes.gl_pathv[i], '/') + 1);
		/* A kernel without NUMA has no nodes. */
		if (glob(path, 0, NULL, &nodes)) {
			show_pool(report, sizes.gl_pathv[i]);
			continue;
		}
		for (size_t j = 0; j < nodes.gl_pathc; j++)
			show_pool(report, nodes.gl_pathv[j]);
		globfree(&nodes);
	}
	globfree(&sizes);
	return pages;
}

void check_hugetlb(struct report *report)
{
	bool used = rdm_conf()->backing == RDM_BACKING_HUGETLB;

	if (show_pools(report, "/sys/devices/system/node/node*/hugepages"))
		return;
	report_found(report, used ? IS_ERROR : IS_NOTE,
		     "no pages: there can be no pools with backing:hugetlb");
	advise(report, "for such pools, set pages aside");
	advise_sysctl(report, "vm.nr_hugepages=512");
}

void check_ksm(struct report *report)
{
	bool whole = prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1;
	long run = probe_ksm("run");

	if (run < 0) {
		report_found(report, IS_FINE, "this kernel does not merge pages");
		return;
	}
	if (run != 1 && !whole) {
		report_found(report, IS_FINE, "off");
		return;
	}
	report_found(
		report, run == 1 ? IS_WARNING : IS_NOTE,
		"%s: pages that are equal are merged%s, also between their preparation and the "
		"pin",
		run == 1 ? "on" : "off, but wanted for this process",
		whole ? "" : " in programs that ask for it");
	advise(report, run == 1 ? "turn it off and undo what is merged" :
				  "do not turn it on (prctl PR_SET_MEMORY_MERGE, inherited)");
	if (run == 1)
		advise_write(report, "2", "/sys/kernel/mm/ksm/run");
}

void check_numa_balancing(struct report *report)
{
	unsigned long long mode;

	if (!file_number(&mode, "/proc/sys/kernel/numa_balancing")) {
		report_found(report, IS_FINE, "this kernel does not move pages between nodes");
		return;
	}
	report_found(report, mode ? IS_NOTE : IS_FINE,
		     mode ? "on: pinned pages take faults, and cannot be moved" : "off");
	if (!mode)
		return;
	advise(report, "turn it off, or bind programs and pools to a node");
	advise_sysctl(report, "kernel.numa_balancing=0");
}
