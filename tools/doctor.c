/* SPDX-License-Identifier: BSD-2-Clause */
#include "doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checks/check.h"
#include "options.h"
#include "output.h"

#define INDENT 25

static const struct check {
	const char *name;
	void (*call)(struct rdm_report *report);
	const char *meaning;
} checks[] = {
	{ "kernel", rdm_check_kernel, "its version and page size" },
	{ "cow-rule", rdm_check_cow, "who gets the copy of a shared page, found by probing" },
	{ "pinned-fork", rdm_check_pinned_fork, "whether fork() copies pinned pages, by probing" },
	{ "zero-page", rdm_check_zero_page, "what memory is that nobody has written, by probing" },
	{ "libibverbs", rdm_check_libibverbs, "what libibverbs knows of that" },
	{ "fork-variables", rdm_check_fork_variables, "RDMAV_FORK_SAFE and its like" },
	{ "devices", rdm_check_devices, "RDMA devices: ports, max_mr_size, NUMA node" },
	{ "memlock", rdm_check_memlock, "RLIMIT_MEMLOCK: what may be pinned" },
	{ "cgroup-memory", rdm_check_cgroup_memory, "the smallest memory limit up the tree" },
	{ "cgroup-rdma", rdm_check_cgroup_rdma, "the smallest limit of RDMA objects" },
	{ "max-map-count", rdm_check_max_map_count, "how many mappings a process may have" },
	{ "overcommit", rdm_check_overcommit, "whether addresses are charged for" },
	{ "thp", rdm_check_thp, "transparent huge pages" },
	{ "hugetlb", rdm_check_hugetlb, "huge pages set aside, per node and size" },
	{ "shmem-thp", rdm_check_shmem_thp, "huge pages for shared memory" },
	{ "ksm", rdm_check_ksm, "whether equal pages are merged" },
	{ "numa-balancing", rdm_check_numa_balancing, "whether pages are moved between nodes" },
	{ "io_uring", rdm_check_io_uring, "whether there is io_uring, and permitted" },
	{ "container", rdm_check_container, "whether this is one" },
};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

struct result {
	const char *check;
	enum rdm_severity severity;
	bool untested;
	char found[256];
	char advice[256];
	char command[512];
};

struct rdm_report {
	const char *check; /* under way */
	struct result *result;
	size_t results;
};

static const struct rdm_option options[] = {
	{ .name = "json",
	  .key = 'j',
	  .meaning = "an array of {check, severity, found, advice, command}" },
	{ .name = NULL },
};

static const struct rdm_status statuses[] = {
	{ RDM_FINE, "nothing need be done" },
	{ RDM_FINDING, "there is a warning or an error" },
	{ RDM_USAGE, "wrong usage" },
	{ RDM_UNTESTED, "nothing could be tested" },
	{ 0, NULL },
};

static void list_checks(FILE *out)
{
	fputs("\nChecks:\n", out);
	for (size_t i = 0; i < CHECKS; i++)
		rdm_print_item(out, checks[i].name, checks[i].meaning);
}

static const struct rdm_command command = {
	.name = "doctor",
	.operands = "[CHECK...]",
	.about = "Is this machine fit for RDMA in programs that fork, and if not, what is to be "
		 "done? Run it as the user, and from the place, that the programs will be run by.",
	.options = options,
	.more = list_checks,
	.statuses = statuses,
};

static struct result *add(struct rdm_report *report, enum rdm_severity severity)
{
	struct result *result =
		reallocarray(report->result, report->results + 1, sizeof(*report->result));

	if (!result) {
		perror("rdmalloc");
		exit(RDM_UNTESTED);
	}
	report->result = result;
	result += report->results++;
	*result = (struct result){ .check = report->check, .severity = severity };
	return result;
}

void rdm_found(struct rdm_report *report, enum rdm_severity severity, const char *format, ...)
{
	struct result *result = add(report, severity);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result->found, sizeof(result->found), format, arguments);
	va_end(arguments);
}

void rdm_untested(struct rdm_report *report, const char *format, ...)
{
	struct result *result = add(report, RDM_IS_NOTE);
	char why[200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	result->untested = true;
	snprintf(result->found, sizeof(result->found), "could not be tested: %s", why);
}

static struct result *last(struct rdm_report *report)
{
	return &report->result[report->results - 1];
}

void rdm_advise(struct rdm_report *report, const char *advice)
{
	snprintf(last(report)->advice, sizeof(last(report)->advice), "%s", advice);
}

void rdm_command(struct rdm_report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(last(report)->command, sizeof(last(report)->command), format, arguments);
	va_end(arguments);
}

void rdm_command_sysctl(struct rdm_report *report, const char *setting)
{
	rdm_command(report, "%ssysctl -w %s", geteuid() ? "sudo " : "", setting);
}

void rdm_command_write(struct rdm_report *report, const char *value, const char *path)
{
	const char *quote = strchr(value, ' ') ? "'" : "";

	rdm_command(report, "echo %s%s%s %s %s", quote, value, quote,
		    geteuid() ? "| sudo tee" : ">", path);
}

static const char *severity_name(enum rdm_severity severity)
{
	static const char *const names[] = {
		[RDM_IS_FINE] = "fine",
		[RDM_IS_NOTE] = "note",
		[RDM_IS_WARNING] = "warning",
		[RDM_IS_ERROR] = "error",
	};

	return names[severity];
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static int print_json(const struct rdm_report *report)
{
	json_t *array = json_array();

	for (size_t i = 0; i < report->results; i++) {
		const struct result *result = &report->result[i];

		json_array_append_new(
			array, json_pack("{s:s, s:s, s:s, s:o, s:o}", "check", result->check,
					 "severity", severity_name(result->severity), "found",
					 result->found, "advice", text_or_null(result->advice),
					 "command", text_or_null(result->command)));
	}
	return rdm_print_json(array);
}

static void print_result(const struct result *result)
{
	static const enum rdm_colour colours[] = {
		[RDM_IS_FINE] = RDM_GREEN,
		[RDM_IS_NOTE] = RDM_BOLD,
		[RDM_IS_WARNING] = RDM_YELLOW,
		[RDM_IS_ERROR] = RDM_RED,
	};
	char advice[sizeof(result->advice) + 4];

	rdm_print(stdout, colours[result->severity], "%-7s", severity_name(result->severity));
	printf("  %-14s  ", result->check);
	rdm_print_wrapped(result->found, INDENT);
	if (*result->advice) {
		snprintf(advice, sizeof(advice), "-> %s", result->advice);
		printf("%*s", INDENT, "");
		rdm_print_wrapped(advice, INDENT);
	}
	if (*result->command)
		rdm_print(stdout, RDM_BOLD, "    $ %s\n", result->command);
}

struct tally {
	unsigned of[RDM_IS_ERROR + 1];
	unsigned untested;
};

static struct tally count(const struct rdm_report *report)
{
	struct tally tally = { .untested = 0 };

	for (size_t i = 0; i < report->results; i++) {
		tally.of[report->result[i].severity]++;
		tally.untested += report->result[i].untested;
	}
	return tally;
}

static void print_report(const struct rdm_report *report)
{
	struct tally tally = count(report);

	for (int severity = RDM_IS_ERROR; severity >= RDM_IS_FINE; severity--)
		for (size_t i = 0; i < report->results; i++)
			if ((int)report->result[i].severity == severity)
				print_result(&report->result[i]);
	putchar('\n');
	for (int severity = RDM_IS_ERROR; severity > RDM_IS_FINE; severity--)
		printf("%u %s%s, ", tally.of[severity], severity_name(severity),
		       tally.of[severity] == 1 ? "" : "s");
	printf("%u fine", tally.of[RDM_IS_FINE]);
	if (tally.untested)
		printf("; %u could not be tested", tally.untested);
	putchar('\n');
}

static bool is_wanted(const char *name, char *const *wanted)
{
	if (!*wanted)
		return true;
	for (; *wanted; wanted++)
		if (!strcmp(name, *wanted))
			return true;
	return false;
}

static int look_for_checks(char *const *names)
{
	for (; *names; names++) {
		size_t i = 0;

		while (i < CHECKS && strcmp(checks[i].name, *names) != 0)
			i++;
		if (i == CHECKS)
			return rdm_usage_error(&command, "there is no check '%s'", *names);
	}
	return RDM_GO_ON;
}

static int examine(struct rdm_report *report, char *const *wanted)
{
	struct tally tally;

	for (size_t i = 0; i < CHECKS; i++)
		if (is_wanted(checks[i].name, wanted)) {
			report->check = checks[i].name;
			checks[i].call(report);
		}
	tally = count(report);
	if (tally.untested == report->results)
		return RDM_UNTESTED;
	return tally.of[RDM_IS_WARNING] || tally.of[RDM_IS_ERROR] ? RDM_FINDING : RDM_FINE;
}

static int take(void *json, int key, const char *argument)
{
	(void)key, (void)argument;
	*(bool *)json = true;
	return RDM_GO_ON;
}

int rdm_doctor(int argc, char **argv)
{
	struct rdm_report report = { .results = 0 };
	bool json = false;
	int status = rdm_options_parse(&command, argc, argv, take, &json);

	if (status == RDM_GO_ON)
		status = look_for_checks(argv + optind);
	if (status != RDM_GO_ON)
		return status;
	status = examine(&report, argv + optind);
	if (!json)
		print_report(&report);
	else if (print_json(&report))
		status = RDM_UNTESTED;
	free(report.result);
	return status;
}
