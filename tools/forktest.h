/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_FORKTEST_H
#define TOOLS_FORKTEST_H

/*
 * rdmalloc forktest: which memory loses data on the running kernel, by engine and
 * hazard, and what traits that comes from. What the results should be is nowhere in here.
 */

#include <stdbool.h>
#include <stddef.h>

#include "probe.h"

int command_forktest(int argc, char **argv);

struct forktest_engine {
	const char *word;
	const char *meaning;
	const struct probe_engine *engine;
};

struct forktest_hazard {
	const char *word;
	const char *label;
	const struct probe_hazard *hazard;
	const char *why; /* why a page moves, after "because" */
	bool writes;     /* the hazard itself writes the pages first */
	bool own_doing;  /* the caller's own: no allocator can do anything about it */
};

struct forktest_memory {
	const char *word;
	const char *title;
	const char *backing;
	bool ours;
	bool written; /* before the pin */
	struct probe_memory memory;
};

extern const struct forktest_engine forktest_engines[];
extern const struct forktest_hazard forktest_hazards[];
extern const struct forktest_memory forktest_memories[];
extern const size_t forktest_engine_count, forktest_hazard_count, forktest_memory_count;

struct forktest_cell {
	const struct forktest_engine *engine;
	const struct forktest_hazard *hazard;
	const struct forktest_memory *memory;
	struct probe_outcome out;
	bool done; /* else the process that was to test it has died */
};

/* Comma lists of words, or of what comes before a dash in them; NULL: all. */
struct forktest_selection {
	const char *engine, *hazard, *memory, *backing;
};

/* The selected cells, in memory that children share. NULL with errno. */
struct forktest_cell *forktest_select(const struct forktest_selection *selection, size_t *n);

/*
 * Tests them in other processes, first those of plain memory, and shows how far it
 * is. False: *stop became true meanwhile, and they are gone.
 */
bool forktest_run(struct forktest_cell *cell, size_t n, const volatile int *stop);

/* Changes the machine for the time of the test: KSM, hugetlb pages, swap. Root only. */
void forktest_system_begin(void);
void forktest_system_end(void);

/* Why it is what it is, in words; with frames where pagemap says them. Empty if coherent. */
void forktest_explain(const struct forktest_cell *cell, char *text, size_t size);
/* What this kernel does: in one paragraph, in a line for each trait, or as JSON. */
void forktest_print_kernel(void);
void forktest_print_traits(void);
int forktest_print_traits_json(void);
void forktest_print_table(const struct forktest_cell *cell, size_t n);
void forktest_print_explanations(const struct forktest_cell *cell, size_t n);
int forktest_print_json(const struct forktest_cell *cell, size_t n);

#endif
