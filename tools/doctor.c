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
	void (*call)(struct report *report);
	const char *meaning;
} checks[] = {
	{ "kernel", check_kernel, "its version and page size" },
	{ "cow-rule", check_cow, "who gets the copy of a shared page, found by probing" },
	{ "pinned-fork", check_pinned_fork, "whether fork() copies pinned pages, by probing" },
	{ "zero-page", check_zero_page, "what memory is that nobody has written, by probing" },
	{ "libibverbs", check_libibverbs, "what libibverbs knows of that" },
	{ "fork-variables", check_fork_variables, "RDMAV_FORK_SAFE and its like" },
	{ "devices", check_devices, "RDMA devices: ports, max_mr_size, NUMA node" },
	{ "memlock", check_memlock, "RLIMIT_MEMLOCK: what may be pinned" },
	{ "cgroup-memory", check_cgroup_memory, "the smallest memory limit up the tree" },
	{ "cgroup-rdma", check_cgroup_rdma, "the smallest limit of RDMA objects" },
	{ "max-map-count", check_max_map_count, "how many mappings a process may have" },
	{ "overcommit", check_overcommit, "whether addresses are charged for" },
	{ "thp", check_thp, "transparent huge pages" },
	{ "hugetlb", check_hugetlb, "huge pages set aside, per node and size" },
	{ "shmem-thp", check_shmem_thp, "huge pages for shared memory" },
	{ "ksm", check_ksm, "whether equal pages are merged" },
	{ "numa-balancing", check_numa_balancing, "whether pages are moved between nodes" },
	{ "io_uring", check_io_uring, "whether there is io_uring, and permitted" },
	{ "container", check_container, "whether this is one" },
};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

struct result {
	const char *check;
	enum severity severity;
	bool untested;
	char found[256];
	char advice[256];
	char command[512];
};

struct report {
	const char *check; /* under way */
	struct result *result;
	size_t results;
};

static const struct command_option options[] = {
	{ .name = "json",
	  .key = 'j',
	  .meaning = "an array of {check, severity, found, advice, command}" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "nothing need be done" },
	{ FINDING, "there is a warning or an error" },
	{ USAGE, "wrong usage" },
	{ UNTESTED, "nothing could be tested" },
	{ 0, NULL },
};

static void list_checks(FILE *out)
{
	fputs("\nChecks:\n", out);
	for (size_t i = 0; i < CHECKS; i++)
		print_item(out, checks[i].name, checks[i].meaning);
}

static const struct command command = {
	.name = "doctor",
	.operands = "[CHECK...]",
	.about = "Is this machine fit for RDMA in programs that fork, and if not, what is to be "
		 "done? Run it as the user, and from the place, that the programs will be run by.",
	.options = options,
	.more = list_checks,
	.statuses = statuses,
};

static struct result *add(struct report *report, enum severity severity)
{
	struct result *result =
		reallocarray(report->result, report->results + 1, sizeof(*report->result));

	if (!result) {
		perror("rdmalloc");
		exit(UNTESTED);
	}
	report->result = result;
	result += report->results++;
	*result = (struct result){ .check = report->check, .severity = severity };
	return result;
}

void report_found(struct report *report, enum severity severity, const char *format, ...)
{
	struct result *result = add(report, severity);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(result->found, sizeof(result->found), format, arguments);
	va_end(arguments);
	clean_text(result->found, sizeof(result->found));
}

void report_untested(struct report *report, const char *format, ...)
{
	struct result *result = add(report, IS_NOTE);
	char why[200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(why, sizeof(why), format, arguments);
	va_end(arguments);
	result->untested = true;
	snprintf(result->found, sizeof(result->found), "could not be tested: %s", why);
	clean_text(result->found, sizeof(result->found));
}

static struct result *last(struct report *report)
{
	return &report->result[report->results - 1];
}

void advise(struct report *report, const char *advice)
{
	snprintf(last(report)->advice, sizeof(last(report)->advice), "%s", advice);
}

void advise_command(struct report *report, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(last(report)->command, sizeof(last(report)->command), format, arguments);
	va_end(arguments);
	clean_text(last(report)->command, sizeof(last(report)->command));
}

void advise_sysctl(struct report *report, const char *setting)
{
	advise_command(report, "%ssysctl -w %s", geteuid() ? "sudo " : "", setting);
}

void advise_write(struct report *report, const char *value, const char *path)
{
	const char *quote = strchr(value, ' ') ? "'" : "";

	advise_command(report, "echo %s%s%s %s %s", quote, value, quote,
		       geteuid() ? "| sudo tee" : ">", path);
}

static const char *severity_name(enum severity severity)
{
	static const char *const names[] = {
		[IS_FINE] = "fine",
		[IS_NOTE] = "note",
		[IS_WARNING] = "warning",
		[IS_ERROR] = "error",
	};

	return names[severity];
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static int print_json(const struct report *report)
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
	return output_json(array);
}

static void print_result(const struct result *result)
{
	static const enum colour colours[] = {
		[IS_FINE] = COLOUR_GREEN,
		[IS_NOTE] = COLOUR_BOLD,
		[IS_WARNING] = COLOUR_YELLOW,
		[IS_ERROR] = COLOUR_RED,
	};
	char advice[sizeof(result->advice) + 4];

	print_coloured(stdout, colours[result->severity], "%-7s", severity_name(result->severity));
	printf("  %-14s  ", result->check);
	print_wrapped(result->found, INDENT);
	if (*result->advice) {
		snprintf(advice, sizeof(advice), "-> %s", result->advice);
		printf("%*s", INDENT, "");
		print_wrapped(advice, INDENT);
	}
	if (*result->command)
		print_coloured(stdout, COLOUR_BOLD, "    $ %s\n", result->command);
}

struct tally {
	unsigned of[IS_ERROR + 1];
	unsigned untested;
};

static struct tally count(const struct report *report)
{
	struct tally tally = { .untested = 0 };

	for (size_t i = 0; i < report->results; i++) {
		tally.of[report->result[i].severity]++;
		tally.untested += report->result[i].untested;
	}
	return tally;
}

static void print_report(const struct report *report)
{
	struct tally tally = count(report);

	for (int severity = IS_ERROR; severity >= IS_FINE; severity--)
		for (size_t i = 0; i < report->results; i++)
			if ((int)report->result[i].severity == severity)
				print_result(&report->result[i]);
	putchar('\n');
	for (int severity = IS_ERROR; severity > IS_FINE; severity--)
		printf("%u %s%s, ", tally.of[severity], severity_name(severity),
		       tally.of[severity] == 1 ? "" : "s");
	printf("%u fine", tally.of[IS_FINE]);
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
			return usage_error(&command, "there is no check '%s'", *names);
	}
	return GO_ON;
}

static int examine(struct report *report, char *const *wanted)
{
	struct tally tally;

	for (size_t i = 0; i < CHECKS; i++)
		if (is_wanted(checks[i].name, wanted)) {
			report->check = checks[i].name;
			checks[i].call(report);
		}
	tally = count(report);
	if (tally.untested == report->results)
		return UNTESTED;
	return tally.of[IS_WARNING] || tally.of[IS_ERROR] ? FINDING : FINE;
}

static int take(void *json, int key, const char *argument)
{
	(void)key, (void)argument;
	*(bool *)json = true;
	return GO_ON;
}

int command_doctor(int argc, char **argv)
{
	struct report report = { .results = 0 };
	bool json = false;
	int status = options_parse(&command, argc, argv, take, &json);

	if (status == GO_ON)
		status = look_for_checks(argv + optind);
	if (status != GO_ON)
		return status;
	status = examine(&report, argv + optind);
	if (!json)
		print_report(&report);
	else if (print_json(&report))
		status = UNTESTED;
	free(report.result);
	return status;
}
