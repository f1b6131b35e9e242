/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_CHECK_H
#define TOOLS_CHECK_H

/*
 * The checks of the doctor. A check is one function that says one thing or more,
 * each with what is to be done about it, if anything is. What the kernel does they take
 * from probe/traits.h.
 */

#include <stdbool.h>
#include <stddef.h>

enum severity {
	IS_FINE,
	IS_NOTE,    /* worth knowing; nothing need be done */
	IS_WARNING, /* slow, scarce, or in the way of some programs */
	IS_ERROR,   /* data is lost, or nothing can be registered */
};

struct report;

__attribute__((format(printf, 3, 4))) void
report_found(struct report *report, enum severity severity, const char *format, ...);
/* A note that says so. */
__attribute__((format(printf, 2, 3))) void report_untested(struct report *report,
							   const char *format, ...);

/* These say what to do about the last that was found. */
void advise(struct report *report, const char *advice);
__attribute__((format(printf, 2, 3))) void advise_command(struct report *report, const char *format,
							  ...);
/* setting: "vm.swappiness=1" */
void advise_sysctl(struct report *report, const char *setting);
void advise_write(struct report *report, const char *value, const char *path);

void check_kernel(struct report *report);
void check_cow(struct report *report);
void check_pinned_fork(struct report *report);
void check_zero_page(struct report *report);
void check_io_uring(struct report *report);
void check_container(struct report *report);
void check_libibverbs(struct report *report);
void check_fork_variables(struct report *report);
void check_devices(struct report *report);
void check_memlock(struct report *report);
void check_cgroup_memory(struct report *report);
void check_cgroup_rdma(struct report *report);
void check_max_map_count(struct report *report);
void check_overcommit(struct report *report);
void check_thp(struct report *report);
void check_hugetlb(struct report *report);
void check_shmem_thp(struct report *report);
void check_ksm(struct report *report);
void check_numa_balancing(struct report *report);

#endif
