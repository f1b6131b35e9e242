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

void rdm_check_thp(struct rdm_report *report)
{
	char mode[32], path[128];

	if (!probe_thp(mode, sizeof(mode), path, sizeof(path))) {
		rdm_found(report, RDM_IS_NOTE, "this kernel has no transparent huge pages");
		return;
	}
	if (!strcmp(mode, "never")) {
		rdm_found(report, RDM_IS_WARNING,
			  "never: pools have base pages, three times as slow to make");
		rdm_advise(report, "allow huge pages where they are asked for");
		rdm_command_write(report, "madvise", path);
		return;
	}
	if (probe_thp_is_disabled()) {
		rdm_found(report, RDM_IS_WARNING, "%s, but off for this process and its children",
			  mode);
		rdm_advise(report, "somebody above called prctl(PR_SET_THP_DISABLE): find out who");
		return;
	}
	rdm_found(report, RDM_IS_FINE, "%s", mode);
}

void rdm_check_shmem_thp(struct rdm_report *report)
{
	bool used = rdm_conf()->backing == RDM_BACKING_SHARED;
	char mode[32];

	if (!rdm_read_choice(mode, sizeof(mode), THP "shmem_enabled")) {
		rdm_found(report, RDM_IS_NOTE, "this kernel has no huge pages for shared memory");
		return;
	}
	if (strcmp(mode, "never") != 0 && strcmp(mode, "deny") != 0) {
		rdm_found(report, RDM_IS_FINE, "%s", mode);
		return;
	}
	rdm_found(report, used ? RDM_IS_WARNING : RDM_IS_NOTE,
		  "%s: pools with backing:shared have base pages", mode);
	rdm_advise(report, "for such pools, allow huge pages where asked for");
	rdm_command_write(report, "advise", THP "shmem_enabled");
}

static bool read_pool(const char *directory, const char *name, unsigned long long *number)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return rdm_read_number(number, path);
}

/* ".../node/node0/hugepages/hugepages-2048kB". Returns its pages. */
static unsigned long long show_pool(struct rdm_report *report, const char *directory)
{
	const char *node = strstr(directory, "/node/node");
	unsigned long long kib = strtoull(strstr(directory, "hugepages-") + 10, NULL, 10);
	unsigned long long all = 0, available = 0;

	if (!read_pool(directory, "nr_hugepages", &all))
		return 0;
	read_pool(directory, "free_hugepages", &available);
	rdm_found(report,
		  available ? RDM_IS_FINE :
		  all       ? RDM_IS_WARNING :
			      RDM_IS_NOTE,
		  "node %d: %llu of %s, %llu free", node ? atoi(node + 10) : 0, all,
		  rdm_bytes(kib << 10), available);
	if (all && !available)
		rdm_advise(report, "all are in use, or reserved: add some");
	return all;
}

/* The sizes that some node has pages of, at each node. */
static unsigned long long show_pools(struct rdm_report *report, const char *pattern)
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
		if (glob(path, 0, NULL, &nodes))
			continue;
		for (size_t j = 0; j < nodes.gl_pathc; j++)
			show_pool(report, nodes.gl_pathv[j]);
		globfree(&nodes);
	}
	globfree(&sizes);
	return pages;
}

void rdm_check_hugetlb(struct rdm_report *report)
{
	bool used = rdm_conf()->backing == RDM_BACKING_HUGETLB;

	if (show_pools(report, "/sys/devices/system/node/node*/hugepages"))
		return;
	rdm_found(report, used ? RDM_IS_ERROR : RDM_IS_NOTE,
		  "no pages: there can be no pools with backing:hugetlb");
	rdm_advise(report, "for such pools, set pages aside");
	rdm_command_sysctl(report, "vm.nr_hugepages=512");
}

void rdm_check_ksm(struct rdm_report *report)
{
	bool whole = prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) == 1;
	long run = probe_ksm("run");

	if (run < 0) {
		rdm_found(report, RDM_IS_FINE, "this kernel does not merge pages");
		return;
	}
	if (run != 1 && !whole) {
		rdm_found(report, RDM_IS_FINE, "off");
		return;
	}
	rdm_found(report, run == 1 ? RDM_IS_WARNING : RDM_IS_NOTE,
		  "%s: pages that are equal are merged%s, also between their preparation and the "
		  "pin",
		  run == 1 ? "on" : "off, but wanted for this process",
		  whole ? "" : " in programs that ask for it");
	rdm_advise(report, run == 1 ? "turn it off and undo what is merged" :
				      "do not turn it on (prctl PR_SET_MEMORY_MERGE, inherited)");
	if (run == 1)
		rdm_command_write(report, "2", "/sys/kernel/mm/ksm/run");
}

void rdm_check_numa_balancing(struct rdm_report *report)
{
	unsigned long long mode;

	if (!rdm_read_number(&mode, "/proc/sys/kernel/numa_balancing")) {
		rdm_found(report, RDM_IS_FINE, "this kernel does not move pages between nodes");
		return;
	}
	rdm_found(report, mode ? RDM_IS_NOTE : RDM_IS_FINE,
		  mode ? "on: pinned pages take faults, and cannot be moved" : "off");
	if (!mode)
		return;
	rdm_advise(report, "turn it off, or bind programs and pools to a node");
	rdm_command_sysctl(report, "kernel.numa_balancing=0");
}
