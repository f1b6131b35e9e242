/* SPDX-License-Identifier: BSD-2-Clause */
/* What came out of it, for people and for machines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "forktest.h"
#include "output.h"
#include "traits.h"

#define LABEL_WIDTH 31

static bool is_lost(const struct forktest_cell *cell)
{
	return cell->out.verdict == PROBE_LOST;
}

/* The pages, as "page 0", "pages 0, 2". */
static void name_pages(uint32_t stale, char *text, size_t size)
{
	bool several = stale & (stale - 1);
	size_t used = (size_t)snprintf(text, size, several ? "pages" : "page");

	for (unsigned i = 0; i < 32; i++)
		if (stale >> i & 1 && used < size)
			used += (size_t)snprintf(text + used, size - used, "%s %u",
						 stale & ((1u << i) - 1) ? "," : "", i);
}

/* It was not the process's alone, although nothing that we did made it so. */
static bool was_never_written(const struct forktest_cell *cell, unsigned page)
{
	uint64_t entry = cell->out.at_pin[page];

	return !cell->memory->written && !cell->hazard->writes && PROBE_PRESENT(entry) &&
	       !PROBE_EXCLUSIVE(entry);
}

static unsigned first_page(const struct forktest_cell *cell)
{
	unsigned first = 0;

	while (first + 1 < PROBE_PAGES && !(cell->out.stale >> first & 1))
		first++;
	return first;
}

/* Not where it would have been lost without the hazard, too. */
static bool is_own_doing(const struct forktest_cell *cell)
{
	return cell->hazard->own_doing && !was_never_written(cell, first_page(cell));
}

static void name_frames(const struct forktest_cell *cell, unsigned page, char *text, size_t size)
{
	uint64_t before = PROBE_FRAME(cell->out.at_pin[page]);
	uint64_t after = PROBE_FRAME(cell->out.at_end[page]);

	*text = '\0';
	if (before && after && before != after)
		snprintf(text, size, " (page %u: the device has frame 0x%llx, the process 0x%llx)",
			 page, (unsigned long long)before, (unsigned long long)after);
}

static void explain_loss(const struct forktest_cell *cell, char *text, size_t size)
{
	const struct probe_outcome *out = &cell->out;
	unsigned first = first_page(cell);
	char pages[80], frames[96];

	name_pages(out->stale, pages, sizeof(pages));
	name_frames(cell, first, frames, sizeof(frames));
	snprintf(text, size, "%s of %s%s, because %s%s",
		 out->device_stale ? "the device missed the CPU's bytes" :
				     "the CPU missed the device's bytes",
		 pages, frames,
		 was_never_written(cell, first) ?
			 "nobody had written it: the device took the shared zero page" :
			 cell->hazard->why,
		 is_own_doing(cell) ? "; the caller's own doing" : "");
}

void forktest_explain(const struct forktest_cell *cell, char *text, size_t size)
{
	*text = '\0';
	if (is_lost(cell))
		explain_loss(cell, text, size);
	else if (cell->out.verdict == PROBE_BROKEN)
		snprintf(text, size, "the test went wrong: %s", cell->out.reason);
	else
		snprintf(text, size, "%s", cell->out.reason);
}

static void print_mark(const struct forktest_cell *cell)
{
	switch (cell->out.verdict) {
	case PROBE_COHERENT:
		print_coloured(stdout, COLOUR_GREEN, ".");
		break;
	case PROBE_LOST:
		print_coloured(stdout, is_own_doing(cell) ? COLOUR_YELLOW : COLOUR_RED, "%c",
			       is_own_doing(cell) ? 'x' : 'X');
		break;
	case PROBE_SKIPPED:
		putchar('-');
		break;
	case PROBE_BROKEN:
		print_coloured(stdout, COLOUR_RED, "!");
		break;
	}
}

/* Cells of the same engine and hazard. */
static size_t row_length(const struct forktest_cell *cell, size_t n)
{
	size_t length = 0;

	while (length < n && cell[length].engine == cell->engine &&
	       cell[length].hazard == cell->hazard)
		length++;
	return length;
}

/* Cells of the same column: one kind of memory, each backing. */
static size_t column_length(const struct forktest_cell *cell, size_t n)
{
	size_t length = 0;

	while (length < n && !strcmp(cell[length].memory->word, cell->memory->word))
		length++;
	return length;
}

static int column_width(const struct forktest_cell *cell, size_t length)
{
	size_t title = strlen(cell->memory->title), marks = 2 * length - 1;

	return (int)(title > marks ? title : marks);
}

static void print_head(const struct forktest_cell *cell, size_t n)
{
	size_t length;

	printf("%*s", LABEL_WIDTH, "");
	for (size_t i = 0; i < n; i += length) {
		length = column_length(cell + i, n - i);
		printf("%s%-*s",
		       cell[i].memory->ours && i && !cell[i - 1].memory->ours ? " | " : "  ",
		       column_width(cell + i, length), cell[i].memory->title);
	}
	printf("\n%*s", LABEL_WIDTH, "");
	for (size_t i = 0; i < n; i += length) {
		length = column_length(cell + i, n - i);
		printf("%s", cell[i].memory->ours && i && !cell[i - 1].memory->ours ? " | " : "  ");
		for (size_t j = 0; j < length; j++)
			printf("%c%s", cell[i + j].memory->backing[0], j + 1 < length ? " " : "");
		printf("%*s", column_width(cell + i, length) - (int)(2 * length - 1), "");
	}
	putchar('\n');
}

static void print_row(const struct forktest_cell *cell, size_t n)
{
	size_t length;

	printf("  %-*s", LABEL_WIDTH - 4, cell->hazard->label);
	printf("%2s", cell->hazard->own_doing ? "*" : "");
	for (size_t i = 0; i < n; i += length) {
		length = column_length(cell + i, n - i);
		printf("%s", cell[i].memory->ours && i && !cell[i - 1].memory->ours ? " | " : "  ");
		for (size_t j = 0; j < length; j++) {
			print_mark(&cell[i + j]);
			printf("%s", j + 1 < length ? " " : "");
		}
		printf("%*s", column_width(cell + i, length) - (int)(2 * length - 1), "");
	}
	putchar('\n');
}

/* The engine's cells, and whether it is the engine that is missing. */
static size_t engine_length(const struct forktest_cell *cell, size_t n, bool *missing)
{
	size_t length = 0;

	*missing = true;
	for (; length < n && cell[length].engine == cell->engine; length++)
		*missing = *missing && cell[length].out.verdict == PROBE_SKIPPED &&
			   !strcmp(cell[length].out.reason, cell->out.reason);
	return length;
}

static void print_engine(const struct forktest_cell *cell, size_t n, bool missing)
{
	size_t length;

	print_coloured(stdout, COLOUR_BOLD, "%s", cell->engine->word);
	printf(": %s\n", cell->engine->meaning);
	if (missing) {
		printf("  - ");
		print_wrapped(cell->out.reason, 4);
		return;
	}
	for (size_t i = 0; i < n; i += length) {
		length = row_length(cell + i, n - i);
		print_row(cell + i, length);
	}
}

/* What is listed under the table: each reason once. */
static void print_reasons(const struct forktest_cell *cell, size_t n, enum probe_verdict verdict)
{
	char text[sizeof(cell->out.reason) + 32];

	for (size_t i = 0; i < n; i++) {
		size_t same = 0, first = n;

		for (size_t j = 0; j < n; j++) {
			if (cell[j].out.verdict != verdict ||
			    strcmp(cell[j].out.reason, cell[i].out.reason) != 0)
				continue;
			same++;
			first = j < first ? j : first;
		}
		if (cell[i].out.verdict != verdict || first != i)
			continue;
		snprintf(text, sizeof(text), "%s (%zu cells)", cell[i].out.reason, same);
		printf("%c ", verdict == PROBE_BROKEN ? '!' : '-');
		print_wrapped(text, 2);
	}
}

void forktest_print_kernel(void)
{
	char text[1024] = "";
	size_t used = 0;

	for (int i = 0; i < PROBE_TRAITS; i++) {
		const struct probe_trait *trait = probe_trait(i);

		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s: %s",
						 i ? ", " : "", trait->name, trait->answer);
	}
	printf("kernel  ");
	print_wrapped(text, 8);
	putchar('\n');
}

void forktest_print_traits(void)
{
	for (int i = 0; i < PROBE_TRAITS; i++) {
		const struct probe_trait *trait = probe_trait(i);

		printf("%-15s %-15s  %s\n", trait->name, trait->answer,
		       *trait->why ? trait->why : trait->meaning);
	}
}

int forktest_print_traits_json(void)
{
	json_t *array = json_array();

	for (int i = 0; i < PROBE_TRAITS; i++) {
		const struct probe_trait *trait = probe_trait(i);

		json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s}", "trait", trait->name,
						       "answer", trait->answer, "meaning",
						       trait->meaning, "why", trait->why));
	}
	return output_json(array);
}

void forktest_print_table(const struct forktest_cell *cell, size_t n)
{
	size_t length;

	print_head(cell, row_length(cell, n));
	for (size_t i = 0; i < n; i += length) {
		bool missing;

		length = engine_length(cell + i, n - i, &missing);
		print_engine(cell + i, length, missing);
	}
	printf("\n. coherent: device and CPU see the same bytes   X lost   - could not be tested\n"
	       "* x lost by the caller's own doing: no allocator can do anything about it\n"
	       "b base pages, t transparent huge pages, h hugetlb. Plain: never written before the\n"
	       "pin; dontfork: MADV_DONTFORK; read; written; recipe: MADV_DONTFORK, then written.\n"
	       "Right of the bar: rdmalloc's pools.\n");
	print_reasons(cell, n, PROBE_SKIPPED);
	print_reasons(cell, n, PROBE_BROKEN);
}

void forktest_print_explanations(const struct forktest_cell *cell, size_t n)
{
	char text[512];

	for (size_t i = 0; i < n; i++) {
		if (!is_lost(&cell[i]))
			continue;
		forktest_explain(&cell[i], text, sizeof(text));
		printf("%s, %s, %s/%s:\n  %s\n", cell[i].engine->word, cell[i].hazard->word,
		       cell[i].memory->word, cell[i].memory->backing, text);
	}
}

int forktest_print_json(const struct forktest_cell *cell, size_t n)
{
	static const char *const results[] = {
		[PROBE_COHERENT] = "coherent",
		[PROBE_LOST] = "lost",
		[PROBE_SKIPPED] = "skipped",
		[PROBE_BROKEN] = "skipped",
	};
	json_t *array = json_array();
	char text[512];

	for (size_t i = 0; i < n; i++) {
		json_t *object;

		forktest_explain(&cell[i], text, sizeof(text));
		object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "engine", cell[i].engine->word,
				   "hazard", cell[i].hazard->word, "memory", cell[i].memory->word,
				   "backing", cell[i].memory->backing, "result",
				   results[cell[i].out.verdict], "reason", text);
		if (!object || json_array_append_new(array, object)) {
			fputs("rdmalloc forktest: no memory\n", stderr);
			json_decref(array);
			return -1;
		}
	}
	return output_json(array);
}
