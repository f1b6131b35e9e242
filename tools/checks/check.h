/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_CHECK_H
#define RDM_TOOLS_CHECK_H

/*
 * The checks of the doctor. A check is one function that says one thing or more,
 * each with what is to be done about it, if anything is. What the kernel does they take
 * from probe/traits.h.
 */

#include <stdbool.h>
#include <stddef.h>

enum rdm_severity {
	RDM_IS_FINE,
	RDM_IS_NOTE,    /* worth knowing; nothing need be done */
	RDM_IS_WARNING, /* slow, scarce, or in the way of some programs */
	RDM_IS_ERROR,   /* data is lost, or nothing can be registered */
};

struct rdm_report;

__attribute__((format(printf, 3, 4))) void
rdm_found(struct rdm_report *report, enum rdm_severity severity, const char *format, ...);
/* A note that says so. */
__attribute__((format(printf, 2, 3))) void rdm_untested(struct rdm_report *report,
							const char *format, ...);

/* These say what to do about the last that was found. */
void rdm_advise(struct rdm_report *report, const char *advice);
__attribute__((format(printf, 2, 3))) void rdm_command(struct rdm_report *report,
						       const char *format, ...);
/* setting: "vm.swappiness=1" */
void rdm_command_sysctl(struct rdm_report *report, const char *setting);
void rdm_command_write(struct rdm_report *report, const char *value, const char *path);

void rdm_check_kernel(struct rdm_report *report);
void rdm_check_cow(struct rdm_report *report);
void rdm_check_pinned_fork(struct rdm_report *report);
void rdm_check_zero_page(struct rdm_report *report);
void rdm_check_io_uring(struct rdm_report *report);
void rdm_check_container(struct rdm_report *report);
void rdm_check_libibverbs(struct rdm_report *report);
void rdm_check_fork_variables(struct rdm_report *report);
void rdm_check_devices(struct rdm_report *report);
void rdm_check_memlock(struct rdm_report *report);
void rdm_check_cgroup_memory(struct rdm_report *report);
void rdm_check_cgroup_rdma(struct rdm_report *report);
void rdm_check_max_map_count(struct rdm_report *report);
void rdm_check_overcommit(struct rdm_report *report);
void rdm_check_thp(struct rdm_report *report);
void rdm_check_hugetlb(struct rdm_report *report);
void rdm_check_shmem_thp(struct rdm_report *report);
void rdm_check_ksm(struct rdm_report *report);
void rdm_check_numa_balancing(struct rdm_report *report);

#endif
