/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"
#include "probe.h"
#include "read.h"

void rdm_check_kernel(struct rdm_report *report)
{
	struct utsname name;

	uname(&name);
	rdm_found(report, RDM_IS_FINE, "%s %s, %s, pages of %s", name.sysname, name.release,
		  name.machine, rdm_bytes((unsigned long long)sysconf(_SC_PAGESIZE)));
}

/* A huge page would be split on the way, which some kernels judge otherwise. */
static const struct probe_memory written =
	PROBE_MALLOC("malloc, written", PROBE_CARE_WRITE | PROBE_CARE_NO_THP);

static enum probe_verdict probe_reference(const struct probe_hazard *hazard)
{
	struct probe_outcome out;

	return probe_run(&probe_vmsplice, hazard, &written, &out);
}

/*
 * A pipe holds a reference to a page that was written. All kernels keep it for the
 * parent when nothing happens, and none does beside a living child. After mprotect()
 * there and back the page is copied where references count. When the child is gone the
 * page is copied where it was marked as not exclusive at the fork, and is not where only
 * the mappings that are left count.
 */
static enum rdm_cow_rule probe_rule(const char **unknown)
{
	enum probe_verdict calm = probe_reference(&probe_no_fork);
	enum probe_verdict beside = probe_reference(&probe_fork_lives);
	enum probe_verdict after = probe_reference(&probe_fork_exits);
	enum probe_verdict trip = probe_reference(&probe_protect);

	*unknown = "vmsplice(2) holds no pages here";
	if (calm != PROBE_COHERENT || beside != PROBE_LOST)
		return RDM_COW_UNKNOWN;
	if (trip == PROBE_LOST)
		return RDM_COW_REFERENCE_COUNT;
	if (trip == PROBE_COHERENT && after == PROBE_COHERENT)
		return RDM_COW_MAP_COUNT;
	if (trip == PROBE_COHERENT && after == PROBE_LOST)
		return RDM_COW_EXCLUSIVE;
	*unknown = "a probe with vmsplice(2) failed";
	return RDM_COW_UNKNOWN;
}

static enum rdm_known probe_copies(const char **unknown)
{
	static struct probe_outcome out;

	*unknown = out.reason;
	switch (probe_run(&probe_uring, &probe_fork_lives, &written, &out)) {
	case PROBE_COHERENT:
		return RDM_YES;
	case PROBE_LOST:
		return RDM_NO;
	default:
		return RDM_UNKNOWN;
	}
}

const struct rdm_cow *rdm_cow(void)
{
	static struct rdm_cow cow;
	static bool probed;

	if (!probed) {
		cow.rule = probe_rule(&cow.rule_unknown);
		cow.copies = probe_copies(&cow.copies_unknown);
		probed = true;
	}
	return &cow;
}

void rdm_check_cow(struct rdm_report *report)
{
	const struct rdm_cow *cow = rdm_cow();

	switch (cow->rule) {
	case RDM_COW_UNKNOWN:
		rdm_untested(report, "%s", cow->rule_unknown);
		return;
	case RDM_COW_EXCLUSIVE:
		rdm_found(report, RDM_IS_FINE,
			  "exclusive pages stay (the rule from Linux 5.19 on)");
		return;
	case RDM_COW_REFERENCE_COUNT:
		rdm_found(report, RDM_IS_WARNING,
			  "references count (the rule of Linux 5.9 to 5.18): mprotect() of "
			  "registered memory, there and back, loses data");
		rdm_advise(report, "leave its protection alone, or take a kernel from 5.19 on");
		return;
	case RDM_COW_MAP_COUNT:
		rdm_found(
			report, RDM_IS_WARNING,
			"mappings count (the rule up to Linux 5.8): what the parent writes beside "
			"a child goes to another page");
		rdm_advise(report, "run programs that fork with rdmalloc, or take a newer kernel");
		rdm_command(report, "rdmalloc run PROGRAM");
		return;
	}
}

void rdm_check_pinned_fork(struct rdm_report *report)
{
	const struct rdm_cow *cow = rdm_cow();

	switch (cow->copies) {
	case RDM_UNKNOWN:
		rdm_untested(report, "%s", cow->copies_unknown);
		return;
	case RDM_YES:
		rdm_found(report, RDM_IS_FINE, "fork() copies pinned pages, which takes time");
		return;
	case RDM_NO:
		rdm_found(report, RDM_IS_ERROR,
			  "fork() shares pinned pages: plain registered memory loses data");
		rdm_advise(report, "give programs memory that is kept out of the fork");
		rdm_command(report, "rdmalloc run PROGRAM");
		return;
	}
}

static int try_io_uring(void)
{
	struct io_uring_params parameters = { .flags = 0 };
	long fd = syscall(SYS_io_uring_setup, 1, &parameters);

	if (fd < 0)
		return errno;
	close((int)fd);
	return 0;
}

static void refused_io_uring(struct rdm_report *report, unsigned long long disabled)
{
	unsigned long long filter = 0;

	if (disabled) {
		rdm_found(report, RDM_IS_WARNING,
			  "kernel.io_uring_disabled is %llu: no io_uring for %s", disabled,
			  disabled == 1 ? "this user" : "anybody");
		rdm_advise(report, "allow it, if programs are to register memory with it");
		rdm_command_sysctl(report, "kernel.io_uring_disabled=0");
		return;
	}
	rdm_read_field(&filter, "/proc/self/status", "Seccomp");
	rdm_found(report, RDM_IS_WARNING, "io_uring is not permitted%s",
		  filter ? ", by a seccomp filter" : "");
	rdm_advise(report, "a container's profile must allow io_uring_setup");
}

void rdm_check_io_uring(struct rdm_report *report)
{
	unsigned long long disabled = 0;
	int error = try_io_uring();

	rdm_read_number(&disabled, "/proc/sys/kernel/io_uring_disabled");
	if (error == EPERM || error == EACCES) {
		refused_io_uring(report, disabled);
	} else if (error == ENOSYS) {
		rdm_found(report, RDM_IS_NOTE, "this kernel, or a container's filter, has none");
	} else if (error == ENOMEM) {
		rdm_found(report, RDM_IS_WARNING, "no memory: RLIMIT_MEMLOCK is too small");
		rdm_advise(report, "see memlock");
	} else if (error) {
		rdm_found(report, RDM_IS_WARNING, "io_uring_setup: %s", strerror(error));
	} else if (disabled) {
		rdm_found(report, RDM_IS_NOTE,
			  "this user may, others may not: kernel.io_uring_disabled is %llu",
			  disabled);
		rdm_command_sysctl(report, "kernel.io_uring_disabled=0");
	} else {
		rdm_found(report, RDM_IS_FINE, "there is io_uring, and it is permitted");
	}
}

/* The kernel's own number for the first namespace of that kind. */
static bool is_first(const char *kind, unsigned number)
{
	char path[64], link[64], first[64];
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		return true;
	link[length] = '\0';
	snprintf(first, sizeof(first), "%s:[%u]", kind, number);
	return !strcmp(link, first);
}

void rdm_check_container(struct rdm_report *report)
{
	static const char *const marks[] = { "/.dockerenv", "/run/.containerenv",
					     "/run/systemd/container" };
	bool own_users = !is_first("user", 0xEFFFFFFD);
	bool own_processes = !is_first("pid", 0xEFFFFFFC);
	const char *mark = NULL;

	for (size_t i = 0; !mark && i < sizeof(marks) / sizeof(marks[0]); i++)
		if (!access(marks[i], F_OK))
			mark = marks[i];
	if (!mark && !own_users && !own_processes) {
		rdm_found(report, RDM_IS_FINE, "this is none");
		return;
	}
	rdm_found(report, RDM_IS_NOTE, "this is one: %s%s%s", mark ? mark : "namespaces",
		  own_users ? ", users of its own" : "",
		  own_processes ? ", processes of its own" : "");
	rdm_advise(report, "limits, devices, sysctl: change them on the host");
}
