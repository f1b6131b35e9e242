/* SPDX-License-Identifier: BSD-2-Clause */
#include "forktest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "config.h"
#include "options.h"
#include "output.h"
#include "traits.h"

static volatile int stop; /* the signal that ends the test */

static void on_signal(int signal)
{
	stop = signal;
}

static const char *engine_word(size_t i)
{
	return i < forktest_engine_count ? forktest_engines[i].word : NULL;
}

static const char *hazard_word(size_t i)
{
	return i < forktest_hazard_count ? forktest_hazards[i].word : NULL;
}

static const char *name_of(const struct forktest_memory *memory)
{
	return memory->word;
}

static const char *backing_of(const struct forktest_memory *memory)
{
	return memory->backing;
}

/* The i-th of the words that the list of memories has, some of them more than once. */
static const char *distinct(size_t i, const char *(*word_of)(const struct forktest_memory *))
{
	for (size_t at = 0; at < forktest_memory_count; at++) {
		size_t before = 0;

		while (strcmp(word_of(&forktest_memories[before]),
			      word_of(&forktest_memories[at])) != 0)
			before++;
		if (before == at && !i--)
			return word_of(&forktest_memories[at]);
	}
	return NULL;
}

static const char *memory_word(size_t i)
{
	return distinct(i, name_of);
}

static const char *backing_word(size_t i)
{
	return distinct(i, backing_of);
}

static const struct command_option options[] = {
	{ .name = "engine",
	  .key = 'e',
	  .argument = "WORD[,...]",
	  .word = engine_word,
	  .meaning = "only these; a group is what comes before a dash" },
	{ .name = "hazard",
	  .key = 'z',
	  .argument = "WORD[,...]",
	  .word = hazard_word,
	  .meaning = "only these, or groups" },
	{ .name = "memory",
	  .key = 'm',
	  .argument = "WORD[,...]",
	  .word = memory_word,
	  .meaning = "only these, or groups" },
	{ .name = "backing",
	  .key = 'b',
	  .argument = "WORD[,...]",
	  .word = backing_word,
	  .meaning = "only these" },
	{ .name = "explain",
	  .key = 'x',
	  .meaning = "for each lost cell: which page moved, and why" },
	{ .name = "system",
	  .key = 's',
	  .meaning = "as root: turn on KSM, add hugetlb pages and swap (in memory) while the test "
		     "runs" },
	{ .name = "traits",
	  .key = 't',
	  .meaning = "no cells, but what this kernel does that they follow from" },
	{ .name = "json", .key = 'j', .meaning = "an array, one object a cell, or a trait" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "rdmalloc's memory is coherent wherever it was tested, but for the caller's own "
		"doing" },
	{ FINDING, "it is not, or a test went wrong" },
	{ USAGE, "wrong usage" },
	{ UNTESTED, "nothing could be tested" },
	{ 0, NULL },
};

static const struct command command = {
	.name = "forktest",
	.operands = "",
	.about = "Which memory loses data on this kernel when a device holds its pages? Needs no "
		 "device, and no privileges for most of it.",
	.options = options,
	.statuses = statuses,
};

/* Without SA_RESTART: whoever waits shall notice. */
static void catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	/* Whoever reads our output may be gone before the machine is as it was. */
	signal(SIGPIPE, SIG_IGN);
}

static bool needs_loop(const struct forktest_cell *cell, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (cell[i].engine->engine == &probe_direct_read ||
		    cell[i].engine->engine == &probe_direct_write)
			return true;
	return false;
}

/* Without cells it only asks for the traits. */
static bool run(struct forktest_cell *cell, size_t n, bool system)
{
	bool whole = true;

	catch_signals();
	if (!n || needs_loop(cell, n))
		probe_loop_reserve();
	if (system)
		forktest_system_begin();
	/* Now, when the machine is as the cells will find it. */
	probe_trait(PROBE_COW_RULE);
	if (n)
		whole = forktest_run(cell, n, &stop);
	if (system)
		forktest_system_end();
	probe_loop_remove();
	return whole && !stop;
}

static _Noreturn void end_by_signal(void)
{
	signal(stop, SIG_DFL);
	raise(stop);
	_exit(UNTESTED);
}

static int judge(const struct forktest_cell *cell, size_t n)
{
	bool tested = false, finding = false;

	for (size_t i = 0; i < n; i++) {
		enum probe_verdict verdict = cell[i].out.verdict;

		tested = tested || verdict != PROBE_SKIPPED;
		finding = finding || verdict == PROBE_BROKEN ||
			  (verdict == PROBE_LOST && cell[i].memory->ours &&
			   !cell[i].hazard->own_doing);
	}
	if (finding)
		return FINDING;
	return tested ? FINE : UNTESTED;
}

static void report(const struct forktest_cell *cell, size_t n, bool explain)
{
	struct utsname name;

	uname(&name);
	printf("rdmalloc %s on %s %s %s\n\n", PACKAGE_VERSION, name.sysname, name.release,
	       name.machine);
	forktest_print_kernel();
	forktest_print_table(cell, n);
	if (explain) {
		putchar('\n');
		forktest_print_explanations(cell, n);
	}
}

struct wanted {
	struct forktest_selection selection;
	bool explain, system, traits, json;
};

static int test(const struct wanted *wanted)
{
	struct forktest_cell *cell;
	size_t n;

	cell = forktest_select(&wanted->selection, &n);
	if (!cell) {
		perror("rdmalloc forktest");
		return UNTESTED;
	}
	if (!n)
		return usage_error(&command, "nothing is called so");
	if (!run(cell, n, wanted->system))
		end_by_signal();
	if (!wanted->json)
		report(cell, n, wanted->explain);
	else if (forktest_print_json(cell, n))
		return UNTESTED;
	return judge(cell, n);
}

static int show_traits(const struct wanted *wanted)
{
	if (!run(NULL, 0, wanted->system))
		end_by_signal();
	if (wanted->json)
		return forktest_print_traits_json() ? UNTESTED : FINE;
	forktest_print_traits();
	return FINE;
}

static int take(void *into, int key, const char *argument)
{
	struct wanted *wanted = into;

	switch (key) {
	case 'e':
		wanted->selection.engine = argument;
		break;
	case 'z':
		wanted->selection.hazard = argument;
		break;
	case 'm':
		wanted->selection.memory = argument;
		break;
	case 'b':
		wanted->selection.backing = argument;
		break;
	case 'x':
		wanted->explain = true;
		break;
	case 's':
		wanted->system = true;
		break;
	case 't':
		wanted->traits = true;
		break;
	default:
		wanted->json = true;
		break;
	}
	return GO_ON;
}

int command_forktest(int argc, char **argv)
{
	struct wanted wanted = { .json = false };
	int status = options_parse(&command, argc, argv, take, &wanted);

	if (status != GO_ON)
		return status;
	if (optind < argc)
		return usage_error(&command, "what is '%s'?", argv[optind]);
	if (wanted.system && geteuid())
		return usage_error(&command, "--system is for root");
	return wanted.traits ? show_traits(&wanted) : test(&wanted);
}
