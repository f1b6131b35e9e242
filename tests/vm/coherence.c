/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: coherence anon|hugetlb|shared|preload|control
 *
 * Do a verbs device and the CPU see the same bytes, whoever forks? Every
 * operation, every kind of child, 1 to 64 forks. A pool's memory must be
 * coherent in every cell, and so must malloc's under the preload. control: the same without,
 * what became of it is printed; it runs in a process of its own because a pool calls
 * ibv_fork_init() where the kernel needs it.
 */
#include <stdlib.h>
#include <string.h>

#include "preload/start.h"
#include "probe.h"
#include "support.h"
#include "vm.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct probe_engine *const engines[] = {
	&probe_verbs_send,
	&probe_verbs_recv,
	&probe_verbs_read,
	&probe_verbs_write,
};

static const struct probe_hazard hazards[] = {
	{ .name = "child lives" },
	{ .name = "child exits", .children_exit = true },
	{ .name = "child writes first", .children_write = true },
	{ .name = "thread forks meanwhile", .sibling = true },
};

static const unsigned forks[] = { 1, 2, 8, 64 };
static size_t columns;

static struct probe_outcome table[COUNT(engines)][COUNT(forks)];

/* One row for each engine, one column for each number of forks. */
static void run(struct probe_hazard hazard, const struct probe_memory *memory)
{
	struct probe_outcome out[COUNT(engines)];

	for (size_t i = 0; i < columns; i++) {
		hazard.forks = forks[i];
		probe_run_all(engines, COUNT(engines), &hazard, memory, out);
		if (out->verdict == PROBE_SKIPPED)
			t_skip("%s", out->reason);
		T_CHECKF(out->verdict != PROBE_BROKEN, "%s, %u forks: %s", hazard.name, forks[i],
			 out->reason);
		for (size_t j = 0; j < COUNT(engines); j++)
			table[j][i] = out[j];
	}
}

static unsigned print(const char *hazard)
{
	unsigned lost = 0;

	for (size_t i = 0; i < COUNT(engines); i++) {
		char cells[128] = "";

		for (size_t j = 0; j < columns; j++) {
			size_t used = strlen(cells);

			lost += table[i][j].verdict == PROBE_LOST;
			snprintf(cells + used, sizeof(cells) - used, " %-8s",
				 probe_verdict_name(table[i][j].verdict));
		}
		t_say("%-22s  %-10s %s", hazard, engines[i]->name, cells);
	}
	return lost;
}

/* Nothing survives it: an engine that does not see this would see nothing. */
static void check_engines(void)
{
	struct probe_outcome out[COUNT(engines)];

	probe_run_all(engines, COUNT(engines), &probe_purge, &probe_malloc_written, out);
	for (size_t i = 0; i < COUNT(engines); i++)
		T_CHECKF(out[i].verdict == PROBE_LOST, "%s after MADV_DONTNEED: %s %s",
			 engines[i]->name, probe_verdict_name(out[i].verdict), out[i].reason);
}

int main(int argc, char **argv)
{
	struct probe_memory memory = probe_malloc_written;
	bool control;
	unsigned lost = 0;

	T_CHECKF(argc == 2, "usage: coherence anon|hugetlb|shared|preload|control");
	control = !strcmp(argv[1], "control");
	if (control) {
		/* It would do to this memory what a pool does. */
		unsetenv("RDMAV_FORK_SAFE");
		unsetenv("IBV_FORK_SAFE");
		check_engines();
	} else if (!strcmp(argv[1], "preload")) {
		t_preload(argv, false, NULL);
	} else {
		memory = t_pool_memory(argv[1]);
	}
	columns = t_quick() ? COUNT(forks) - 1 : COUNT(forks);
	t_say("%s: does the other side see it, after so many forks?\n"
	      "%-22s  %-10s  %-8u %-8u %-8u %s",
	      argv[1], "", "", forks[0], forks[1], forks[2], columns > 3 ? "64" : "");
	for (size_t i = 0; i < COUNT(hazards); i++) {
		run(hazards[i], &memory);
		lost += print(hazards[i].name);
	}
	t_say("%s: lost in %u of %zu cells", argv[1], lost,
	      COUNT(engines) * COUNT(hazards) * columns);
	return lost && !control ? T_FAIL : T_PASS;
}
