/* SPDX-License-Identifier: BSD-2-Clause */
#include "forktest.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "config.h"
#include "output.h"
#include "traits.h"

static const struct option options[] = {
	{ "engine", required_argument, NULL, 'e' },
	{ "hazard", required_argument, NULL, 'z' },
	{ "memory", required_argument, NULL, 'm' },
	{ "backing", required_argument, NULL, 'b' },
	{ "explain", no_argument, NULL, 'x' },
	{ "system", no_argument, NULL, 's' },
	{ "traits", no_argument, NULL, 't' },
	{ "json", no_argument, NULL, 'j' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static volatile int stop; /* the signal that ends the test */

static void on_signal(int signal)
{
	stop = signal;
}

static void print_usage(FILE *out)
{
	fputs("Usage: rdmalloc forktest [OPTION...]\n"
	      "\n"
	      "Which memory loses data on this kernel when a device holds its pages? Needs no device,\n"
	      "and no privileges for most of it.\n"
	      "\n"
	      "  --engine=WORD[,...]   only these; a group is what comes before a dash:",
	      out);
	for (size_t i = 0; i < forktest_engine_count; i++)
		fprintf(out, "%s%s", i % 6 ? " " : "\n                          ",
			forktest_engines[i].word);
	fputs("\n  --hazard=WORD[,...]   only these:", out);
	for (size_t i = 0; i < forktest_hazard_count; i++)
		fprintf(out, "%s%s", i % 6 ? " " : "\n                          ",
			forktest_hazards[i].word);
	fputs("\n  --memory=WORD[,...]   only these:\n"
	      "                          plain dontfork read written recipe\n"
	      "                          rdmalloc-anon rdmalloc-hugetlb rdmalloc-shared\n"
	      "  --backing=WORD[,...]  only these: base thp hugetlb\n"
	      "  --explain             for each lost cell: which page moved, and why\n"
	      "  --system              as root: turn on KSM, add hugetlb pages and swap (in memory)\n"
	      "                        while the test runs\n"
	      "  --traits              what this kernel does that the cells follow from, and no cells\n"
	      "  --json                an array, one object a cell, or a trait\n"
	      "\n"
	      "Exit status: 0 rdmalloc's memory is coherent wherever it was tested, but for the\n"
	      "caller's own doing; 1 it is not, or a test went wrong; 2 wrong usage; 77 nothing\n"
	      "could be tested.\n",
	      out);
}

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
	_exit(RDM_UNTESTED);
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
		return RDM_FINDING;
	return tested ? RDM_FINE : RDM_UNTESTED;
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

static int test(const struct forktest_selection *selection, bool system, bool explain, bool json)
{
	struct forktest_cell *cell;
	size_t n;

	cell = forktest_select(selection, &n);
	if (!cell) {
		perror("rdmalloc forktest");
		return RDM_UNTESTED;
	}
	if (!n) {
		fputs("rdmalloc forktest: nothing is called so: see rdmalloc forktest --help\n",
		      stderr);
		return RDM_USAGE;
	}
	if (!run(cell, n, system))
		end_by_signal();
	if (!json)
		report(cell, n, explain);
	else if (forktest_print_json(cell, n))
		return RDM_UNTESTED;
	return judge(cell, n);
}

static int show_traits(bool system, bool json)
{
	if (!run(NULL, 0, system))
		end_by_signal();
	if (json)
		return forktest_print_traits_json() ? RDM_UNTESTED : RDM_FINE;
	forktest_print_traits();
	return RDM_FINE;
}

int rdm_forktest(int argc, char **argv)
{
	struct forktest_selection selection = { NULL, NULL, NULL, NULL };
	bool explain = false, system = false, traits = false, json = false;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'e':
			selection.engine = optarg;
			break;
		case 'z':
			selection.hazard = optarg;
			break;
		case 'm':
			selection.memory = optarg;
			break;
		case 'b':
			selection.backing = optarg;
			break;
		case 'x':
			explain = true;
			break;
		case 's':
			system = true;
			break;
		case 't':
			traits = true;
			break;
		case 'j':
			json = true;
			break;
		case 'h':
			print_usage(stdout);
			return RDM_FINE;
		default:
			print_usage(stderr);
			return RDM_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "rdmalloc forktest: what is '%s'?\n", argv[optind]);
		return RDM_USAGE;
	}
	if (system && geteuid()) {
		fputs("rdmalloc forktest: --system is for root\n", stderr);
		return RDM_USAGE;
	}
	if (traits)
		return show_traits(system, json);
	return test(&selection, system, explain, json);
}
