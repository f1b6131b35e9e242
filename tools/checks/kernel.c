/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "check.h"
#include "read.h"
#include "traits.h"

void check_kernel(struct report *report)
{
	struct utsname name;

	uname(&name);
	report_found(report, IS_FINE, "%s %s, %s, pages of %s", name.sysname, name.release,
		     name.machine, bytes_text((unsigned long long)sysconf(_SC_PAGESIZE)));
}

void check_cow(struct report *report)
{
	const struct probe_trait *rule = probe_trait(PROBE_COW_RULE);

	if (!strcmp(rule->answer, "exclusive")) {
		report_found(report, IS_FINE, "exclusive pages stay (the rule from Linux 5.19 on)");
	} else if (!strcmp(rule->answer, "reference-count")) {
		report_found(report, IS_WARNING,
			     "references count (the rule of Linux 5.9 to 5.18): mprotect() of "
			     "registered memory, there and back, loses data");
		advise(report, "leave its protection alone, or take a kernel from 5.19 on");
	} else if (!strcmp(rule->answer, "map-count")) {
		report_found(
			report, IS_WARNING,
			"mappings count (the rule up to Linux 5.8): what the parent writes beside "
			"a child goes to another page");
		advise(report, "run programs that fork with rdmalloc, or take a newer kernel");
		advise_command(report, "rdmalloc run PROGRAM");
	} else {
		report_untested(report, "%s", rule->why);
	}
}

void check_pinned_fork(struct report *report)
{
	const struct probe_trait *copies = probe_trait(PROBE_PINNED_FORK);

	if (!strcmp(copies->answer, "yes")) {
		report_found(report, IS_FINE, "fork() copies pinned pages, which takes time");
	} else if (!strcmp(copies->answer, "no")) {
		report_found(report, IS_ERROR,
			     "fork() shares pinned pages: plain registered memory loses data");
		advise(report, "give programs memory that is kept out of the fork");
		advise_command(report, "rdmalloc run PROGRAM");
	} else {
		report_untested(report, "%s", copies->why);
	}
}

void check_zero_page(struct report *report)
{
	const struct probe_trait *zeros = probe_trait(PROBE_ZERO_PAGE);

	if (!strcmp(zeros->answer, "unknown"))
		report_untested(report, "%s", zeros->why);
	else
		report_found(report, IS_FINE,
			     !strcmp(zeros->answer, "yes") ?
				     "a page that was only read is shared by all processes: write "
				     "memory before it is pinned, as pools do" :
				     "a page that was only read is the process's own");
}

static void refused_io_uring(struct report *report, unsigned long long disabled)
{
	unsigned long long filter = 0;

	if (disabled) {
		report_found(report, IS_WARNING,
			     "kernel.io_uring_disabled is %llu: no io_uring for %s", disabled,
			     disabled == 1 ? "this user" : "anybody");
		advise(report, "allow it, if programs are to register memory with it");
		advise_sysctl(report, "kernel.io_uring_disabled=0");
		return;
	}
	file_field(&filter, "/proc/self/status", "Seccomp");
	report_found(report, IS_WARNING, "io_uring is not permitted%s",
		     filter ? ", by a seccomp filter" : "");
	advise(report, "a container's profile must allow io_uring_setup");
}

void check_io_uring(struct report *report)
{
	const struct probe_trait *io_uring = probe_trait(PROBE_IO_URING);
	unsigned long long disabled = 0;
	int error = io_uring->error;

	file_number(&disabled, "/proc/sys/kernel/io_uring_disabled");
	if (!strcmp(io_uring->answer, "unknown")) {
		report_untested(report, "%s", io_uring->why);
	} else if (error == EPERM || error == EACCES) {
		refused_io_uring(report, disabled);
	} else if (error == ENOSYS) {
		report_found(report, IS_NOTE, "this kernel, or a container's filter, has none");
	} else if (error == ENOMEM) {
		report_found(report, IS_WARNING, "no memory: RLIMIT_MEMLOCK is too small");
		advise(report, "see memlock");
	} else if (error) {
		report_found(report, IS_WARNING, "io_uring_setup: %s", strerror(error));
	} else if (disabled) {
		report_found(report, IS_NOTE,
			     "this user may, others may not: kernel.io_uring_disabled is %llu",
			     disabled);
		advise_sysctl(report, "kernel.io_uring_disabled=0");
	} else if (probe_trait_is(PROBE_URING_PINS, "no")) {
		report_found(
			report, IS_WARNING,
			"this kernel does not count what io_uring pins (VmPin), so the preload "
			"does not see it");
		advise(report, "register through libibverbs, or from a pool (rdm_pool_add_uring)");
	} else {
		report_found(report, IS_FINE, "there is io_uring, and it is permitted");
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

void check_container(struct report *report)
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
		report_found(report, IS_FINE, "this is none");
		return;
	}
	report_found(report, IS_NOTE, "this is one: %s%s%s", mark ? mark : "namespaces",
		     own_users ? ", users of its own" : "",
		     own_processes ? ", processes of its own" : "");
	advise(report, "limits, devices, sysctl: change them on the host");
}
