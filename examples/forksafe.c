/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is memory safe to register with a device on the running kernel, when the
 * process forks? Prints what became of malloc'ed and of rdmalloc's memory, what
 * a child finds in a block, and what fork() costs. Exit status: 0 rdmalloc is
 * coherent in every cell that could be tested, 77 none could, else 1.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <rdmalloc.h>

#include "pool_memory.h"
#include "probe.h"
#include "words.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MIB ((size_t)1 << 20)
#define COST_BYTES (256 * MIB)
#define COST_BYTES_MIN (4 * MIB)
#define COST_ROUNDS 5
#define POLICIES 3
#define COLUMNS 4

enum { RED = 31, GREEN = 32, YELLOW = 33 };

static const struct probe_memory our_memory[POLICIES] = {
	PROBE_POOL("rdmalloc", RDM_BACKING_DEFAULT, RDM_PAGES_DEFAULT, RDM_FORK_HOLE),
	PROBE_POOL("rdmalloc", RDM_BACKING_DEFAULT, RDM_PAGES_DEFAULT, RDM_FORK_ZERO),
	PROBE_POOL("rdmalloc", RDM_BACKING_DEFAULT, RDM_PAGES_DEFAULT, RDM_FORK_COPY),
};

static const struct {
	const char *name;
	enum probe_view view;
} policies[POLICIES] = {
	{ "hole", PROBE_VIEW_HOLE },
	{ "zero", PROBE_VIEW_ZEROS },
	{ "copy", PROBE_VIEW_BYTES },
};

static const struct probe_memory *const plain[COLUMNS - 1] = {
	&probe_malloc,
	&probe_malloc_dontfork,
	&probe_malloc_written,
};

static const char *const columns[COLUMNS] = { "malloc", "+DONTFORK", "written", "rdmalloc" };

static const struct probe_engine *const engines[] = { &probe_vmsplice, &probe_uring };

static const struct {
	const char *name;
	const struct probe_hazard *hazard;
} hazards[] = {
	{ "never written, no fork", &probe_no_fork },
	{ "fork, child lives", &probe_fork_lives },
	{ "fork, child exits", &probe_fork_exits },
	{ "sibling thread forks", &probe_sibling_forks },
};

#define ROWS (COUNT(engines) * COUNT(hazards))

static bool colours;
static struct probe_words words; /* what the library says in the midst of a table */

static void print_cell(int colour, const char *text)
{
	if (colours)
		printf(" \033[%dm%-10s\033[m", colour, text);
	else
		printf(" %-10s", text);
}

static void print_outcome(const struct probe_outcome *out)
{
	char text[32];

	switch (out->verdict) {
	case PROBE_COHERENT:
		print_cell(GREEN, probe_verdict_name(out->verdict));
		break;
	case PROBE_LOST:
		if (out->lost < out->rounds)
			snprintf(text, sizeof(text), "LOST %u/%u", out->lost, out->rounds);
		else
			snprintf(text, sizeof(text), "LOST");
		print_cell(RED, text);
		break;
	case PROBE_SKIPPED:
		print_cell(YELLOW, "-");
		break;
	case PROBE_BROKEN:
		print_cell(RED, probe_verdict_name(out->verdict));
		break;
	}
}

static bool is_worse(enum probe_verdict a, enum probe_verdict b)
{
	static const int badness[] = {
		[PROBE_COHERENT] = 0,
		[PROBE_SKIPPED] = 1,
		[PROBE_BROKEN] = 2,
		[PROBE_LOST] = 3,
	};

	return badness[a] > badness[b];
}

static void run_probe(const struct probe_engine *engine, const struct probe_hazard *hazard,
		      const struct probe_memory *memory, struct probe_outcome *out)
{
	probe_run(engine, hazard, memory, out);
	probe_words_take(&words, out);
}

static void run_cell(size_t row, size_t column, struct probe_outcome *out)
{
	const struct probe_engine *engine = engines[row / COUNT(hazards)];
	const struct probe_hazard *hazard = hazards[row % COUNT(hazards)].hazard;

	if (column < COUNT(plain)) {
		run_probe(engine, hazard, plain[column], out);
		return;
	}
	run_probe(engine, hazard, &our_memory[0], out);
	for (size_t i = 1; i < POLICIES; i++) {
		struct probe_outcome other;

		run_probe(engine, hazard, &our_memory[i], &other);
		if (is_worse(other.verdict, out->verdict))
			*out = other;
	}
}

/* After a table: why some of it could not be, each reason once; then what was said besides. */
static void print_reasons(const struct probe_outcome *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t same = 0;

		while (strcmp(all[same].reason, all[i].reason) != 0)
			same++;
		if (all[i].reason[0] && same == i)
			printf("%s: %s\n", probe_verdict_name(all[i].verdict), all[i].reason);
	}
	probe_words_pass(&words, words.was);
}

static void print_table(struct probe_outcome table[ROWS][COLUMNS])
{
	printf("Do a device and the CPU still see the same bytes?\n\n"
	       "%-9s %-22s",
	       "engine", "hazard");
	for (size_t i = 0; i < COLUMNS; i++)
		printf(" %-10s", columns[i]);
	putchar('\n');
	for (size_t row = 0; row < ROWS; row++) {
		size_t hazard = row % COUNT(hazards);

		printf("%-9s %-22s", hazard ? "" : engines[row / COUNT(hazards)]->name,
		       hazards[hazard].name);
		for (size_t i = 0; i < COLUMNS; i++) {
			run_cell(row, i, &table[row][i]);
			print_outcome(&table[row][i]);
		}
		putchar('\n');
	}
	print_reasons(&table[0][0], ROWS * COLUMNS);
	printf("\nmalloc: fresh pages; +DONTFORK: with MADV_DONTFORK; written: written before the\n"
	       "pin; rdmalloc: the worst of its three fork policies.\n");
}

static const char *describe(enum probe_view view)
{
	switch (view) {
	case PROBE_VIEW_HOLE:
		return "nothing: SIGSEGV";
	case PROBE_VIEW_ZEROS:
		return "zeros";
	case PROBE_VIEW_BYTES:
		return "the parent's bytes, as they were at the fork";
	case PROBE_VIEW_OTHER:
		return "something else";
	case PROBE_VIEW_ERROR:
		break;
	}
	return strerror(errno);
}

/* Returns the number of policies that the child does not find as promised. */
static unsigned print_views(void)
{
	size_t length = 4 * (size_t)sysconf(_SC_PAGESIZE);
	struct probe_outcome out[POLICIES] = { { .verdict = PROBE_COHERENT } };
	unsigned wrong = 0;

	printf("\nWhat does a child of fork() find in a block?\n\n");
	for (size_t i = 0; i < POLICIES; i++) {
		static const struct probe_device no_device;
		struct probe_buffer buffer = { .length = length };
		int error = probe_pool_get(our_memory[i].context, &no_device, &buffer);
		enum probe_view view;

		printf("policy %-25s ", policies[i].name);
		if (error) {
			printf("no block\n");
			probe_refused(&out[i], "rdmalloc", error);
			probe_words_take(&words, &out[i]);
			wrong++;
			continue;
		}
		view = probe_child_view(buffer.addr, length);
		printf("%s%s\n", describe(view),
		       view == policies[i].view ? "" : ": NOT WHAT THE POLICY SAYS");
		wrong += view != policies[i].view;
		probe_pool_put(NULL, &buffer);
	}
	print_reasons(out, POLICIES);
	return wrong;
}

static size_t number_in(const char *path, const char *format, size_t unit)
{
	FILE *file = fopen(path, "re");
	unsigned long long number;
	size_t found = SIZE_MAX;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, format, &number) == 1 && number < SIZE_MAX / unit)
			found = (size_t)number * unit;
	if (file)
		fclose(file);
	return found;
}

static bool can_pin(size_t length, struct probe_outcome *out)
{
	/* A slab is a little longer than the block in it. */
	struct probe_buffer buffer = { .length = length + 2 * MIB };
	struct probe_device device;
	bool can = false;

	if (!probe_device_open(&device, &probe_uring, out)) {
		if (!probe_buffer_get(&probe_malloc, &device, &buffer, out)) {
			can = !probe_device_pin(&device, &buffer, out);
			probe_device_unpin(&device);
			probe_malloc.put(NULL, &buffer);
		}
	}
	probe_device_close(&device);
	return can;
}

/* As much of COST_BYTES as this machine lets us pin, and copy, and copy again. */
static size_t cost_bytes(struct probe_outcome *out)
{
	size_t available = number_in("/proc/meminfo", "MemAvailable: %llu kB", 1024);
	size_t group = number_in("/sys/fs/cgroup/memory.max", "%llu", 1);
	size_t most = (available < group ? available : group) / 4;
	size_t length = COST_BYTES;

	while (length > COST_BYTES_MIN && (length > most || !can_pin(length, out)))
		length /= 2;
	return can_pin(length, out) ? length : 0;
}

static void print_cost(const char *name, const struct probe_memory *memory, size_t length,
		       const struct probe_cost *empty, struct probe_outcome *out)
{
	struct probe_cost cost;
	int failed;

	printf("%-32s ", name);
	failed = probe_fork_cost(memory, length, COST_ROUNDS, &cost, out);
	probe_words_take(&words, out);
	if (failed)
		printf("       -\n");
	else
		printf("%8.2f ms   x %.1f\n", (double)cost.median_ns / 1e6,
		       (double)cost.median_ns / (double)empty->median_ns);
}

static void print_costs(const struct probe_cost *empty)
{
	static const struct probe_memory base =
		PROBE_MALLOC("malloc", PROBE_CARE_NO_THP | PROBE_CARE_WRITE);
	static const struct probe_memory huge =
		PROBE_MALLOC("malloc", PROBE_CARE_THP | PROBE_CARE_WRITE);
	struct probe_outcome out[2 + POLICIES];
	size_t length = cost_bytes(&out[0]);
	char name[64];

	printf("\nWhat does fork() cost with memory pinned by io_uring? ");
	if (!length) {
		printf("Not tested:\n%s\n", out[0].reason);
		return;
	}
	printf("(%zu MiB, median of %d)\n%s\n", length / MIB, COST_ROUNDS,
	       length < COST_BYTES ? "Less than 256 MiB: RLIMIT_MEMLOCK or memory is too small.\n" :
				     "");
	printf("%-32s %8.2f ms\n", "a process with nothing pinned", (double)empty->median_ns / 1e6);
	snprintf(name, sizeof(name), "malloc, %ld KiB pages", sysconf(_SC_PAGESIZE) / 1024);
	print_cost(name, &base, length, empty, &out[0]);
	print_cost("malloc, MADV_HUGEPAGE", &huge, length, empty, &out[1]);
	for (size_t i = 0; i < POLICIES; i++) {
		snprintf(name, sizeof(name), "rdmalloc, policy %s", policies[i].name);
		print_cost(name, &our_memory[i], length, empty, &out[2 + i]);
	}
	print_reasons(out, COUNT(out));
}

static unsigned count(struct probe_outcome table[ROWS][COLUMNS], size_t column,
		      enum probe_verdict verdict)
{
	unsigned n = 0;

	for (size_t row = 0; row < ROWS; row++)
		n += table[row][column].verdict == verdict;
	return n;
}

static int print_verdict(struct probe_outcome table[ROWS][COLUMNS], unsigned wrong)
{
	unsigned coherent = count(table, COLUMNS - 1, PROBE_COHERENT);
	unsigned skipped = count(table, COLUMNS - 1, PROBE_SKIPPED);
	bool failed = wrong || coherent + skipped < ROWS;

	printf("\n%s: rdmalloc is coherent in %u of %zu rows",
	       failed   ? "FAILED" :
	       coherent ? "OK" :
			  "NOTHING TESTED",
	       coherent, ROWS);
	if (skipped)
		printf(" (%u not tested)", skipped);
	printf("; malloc is LOST in %u.\n", count(table, 0, PROBE_LOST));
	if (failed)
		return 1;
	return coherent ? 0 : 77;
}

int main(void)
{
	struct probe_outcome table[ROWS][COLUMNS];
	const char *no_colour = getenv("NO_COLOR");
	struct probe_outcome out;
	struct probe_cost empty;
	struct utsname system;
	unsigned wrong;

	colours = isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
	/* A child must not inherit half a line. */
	setvbuf(stdout, NULL, _IONBF, 0);
	uname(&system);
	printf("rdmalloc %s on %s %s %s\n\n", rdm_version(), system.sysname, system.release,
	       system.machine);
	/* First, while the process is as small as it will ever be. */
	if (probe_fork_cost(NULL, 0, COST_ROUNDS, &empty, &out)) {
		fprintf(stderr, "%s\n", out.reason);
		return 1;
	}
	probe_words_begin(&words);
	print_table(table);
	wrong = print_views();
	print_costs(&empty);
	probe_words_end(&words);
	return print_verdict(table, wrong);
}
