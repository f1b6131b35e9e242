/* SPDX-License-Identifier: BSD-2-Clause */
#include "stat.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "figures.h"
#include "options.h"
#include "output.h"

static const struct command_option options[] = {
	{ .name = "prometheus",
	  .key = 'p',
	  .or_next = true,
	  .meaning = "as Prometheus and its like read them" },
	{ .name = "json", .key = 'j', .meaning = "one object" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "the figures were printed" },
	{ FINDING, "the process cannot be looked at, which a line says" },
	{ USAGE, "wrong usage" },
	{ 0, NULL },
};

static const struct command command = {
	.name = "stat",
	.operands = "PID",
	.about =
		"Prints the figures of a process that was started with RDMALLOC_CONF=publish:true.",
	.options = options,
	.statuses = statuses,
};

static void print_size(const char *what, uint64_t bytes, const char *more)
{
	char size[16];

	heap_size(bytes, size);
	printf("  %-12s %8s  %s\n", what, size, more);
}

static void print_pool(const struct rdm_picture_pool *pool)
{
	char rails[256], text[512];

	heap_rails(pool, rails, sizeof(rails));
	putchar('\n');
	print_coloured(stdout, COLOUR_BOLD, "pool %s", pool->name);
	printf(": %s, pages %s, fork %s, rails %s%s\n", heap_backing(pool), heap_pages(pool),
	       heap_policy(pool), rails,
	       pool->flags & RDM_PICTURE_POOL_INHERITED ? ", inherited" : "");
	snprintf(text, sizeof(text),
		 "%" PRIu64 " of them, %" PRIu64 " made so far, %" PRIu64 " ahead", pool->slabs,
		 pool->growths, pool->background_growths);
	print_size("slabs", pool->slab_bytes, text);
	snprintf(text, sizeof(text), "%" PRIu64 " registrations, %" PRIu64 " ended",
		 pool->registrations, pool->deregistrations);
	print_size("pinned", pool->pinned_bytes, text);
	snprintf(text, sizeof(text), "%" PRIu64 " blocks", pool->live_blocks);
	print_size("live", pool->live_bytes, text);
	snprintf(text, sizeof(text), "in threads' magazines, %" PRIu64 " refills", pool->refills);
	print_size("magazines", pool->magazine_bytes, text);
	snprintf(text, sizeof(text), "answered %" PRIu64 " of these", pool->refills_served);
	print_size("depot", pool->depot_bytes, text);
	snprintf(text, sizeof(text), "%.1f %% of what is carved: free, and kept by the arena",
		 100 * heap_fragmentation(pool));
	print_size("fragmented", heap_stranded(pool), text);
	if (pool->quarantined)
		print_size("quarantined", pool->quarantined, "a rail refuses to deregister them");
	heap_audit(pool, text, sizeof(text));
	fputs("  audit        ", stdout);
	print_coloured(stdout, pool->audit_violations ? COLOUR_RED : COLOUR_PLAIN, "%s\n", text);
}

static void print_text(const struct heap *heap)
{
	const struct rdm_picture_header *header = heap->header;
	const struct passwd *user = getpwuid(heap->user);
	char reserve[16];

	heap_size(header->reserve_bytes, reserve);
	print_coloured(stdout, COLOUR_BOLD, "process %d, %s", (int)heap->pid, heap->program);
	printf(" (%s): rdmalloc %s%s, %.1f s ago\n", user ? user->pw_name : "?", header->library,
	       header->flags & RDM_PICTURE_PRELOAD ? " by preload" : "", heap_age(header->time_ns));
	printf("  %u pools, reserve %s, forks %" PRIu64, header->pools, reserve, header->forks);
	if (header->forks)
		printf(", the last one cost %" PRIu64 " us here", header->last_fork_ns / 1000);
	putchar('\n');
	for (uint32_t i = 0; i < header->pools; i++)
		print_pool(&heap->pools[i]);
	if (header->pools_left_out)
		printf("\n%u more pools are left out\n", header->pools_left_out);
}

static void print_label(const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
}

static void print_labels(const struct heap *heap)
{
	printf("{pid=\"%d\",program=\"", (int)heap->pid);
	print_label(heap->program);
	putchar('"');
}

static void print_head(const char *subject, const char *name, enum heap_kind kind,
		       const char *meaning)
{
	const char *suffix = kind == COUNTER ? "_total" : "";

	printf("# HELP rdmalloc%s_%s%s %s\n# TYPE rdmalloc%s_%s%s %s\n", subject, name, suffix,
	       meaning, subject, name, suffix, kind == COUNTER ? "counter" : "gauge");
}

static void print_of_process(const struct heap *heap, const char *name, enum heap_kind kind,
			     const char *meaning, double value)
{
	print_head("", name, kind, meaning);
	printf("rdmalloc_%s%s", name, kind == COUNTER ? "_total" : "");
	print_labels(heap);
	printf("} %.15g\n", value);
}

/* Pools may have the same name, series may not. */
static void print_of_pools(const struct heap *heap, const struct heap_figure *figure)
{
	print_head("_pool", figure->name, figure->kind, figure->meaning);
	for (uint32_t i = 0; i < heap->header->pools; i++) {
		printf("rdmalloc_pool_%s%s", figure->name, figure->kind == COUNTER ? "_total" : "");
		print_labels(heap);
		printf(",pool=\"");
		print_label(heap->pools[i].name);
		printf("\",index=\"%u\"} %" PRIu64 "\n", i, heap_figure(&heap->pools[i], figure));
	}
}

static void print_prometheus(const struct heap *heap)
{
	const struct rdm_picture_header *header = heap->header;

	print_of_process(heap, "snapshot_timestamp_seconds", GAUGE,
			 "When these figures were taken.", (double)header->time_ns / 1e9);
	print_of_process(heap, "pools", GAUGE, "Pools of the process.", header->pools);
	print_of_process(heap, "reserve_bytes", GAUGE, "Address space that slabs are carved from.",
			 (double)header->reserve_bytes);
	print_of_process(heap, "forks", COUNTER, "Calls of fork().", (double)header->forks);
	print_of_process(heap, "last_fork_seconds", GAUGE,
			 "Time that rdmalloc took in the last fork().",
			 (double)header->last_fork_ns / 1e9);
	for (size_t i = 0; i < heap_figure_count; i++)
		print_of_pools(heap, &heap_figures[i]);
}

static int finish(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return FINE;
	fprintf(stderr, "rdmalloc: writing: %s\n", strerror(errno));
	return FINDING;
}

static int show(pid_t pid, int format)
{
	struct heap heap;
	int status = FINE;

	if (!heap_read_or_say(&heap, pid))
		return FINDING;
	if (format == 'j')
		status = output_json(heap_json(&heap)) ? FINDING : FINE;
	else if (format == 'p')
		print_prometheus(&heap);
	else
		print_text(&heap);
	heap_free(&heap);
	return status ? status : finish();
}

static int take(void *format, int key, const char *argument)
{
	(void)argument;
	*(int *)format = key;
	return GO_ON;
}

int command_stat(int argc, char **argv)
{
	int format = 't';
	int status = options_parse(&command, argc, argv, take, &format);
	pid_t pid;

	if (status != GO_ON)
		return status;
	pid = argc - optind == 1 ? heap_parse_pid(argv[optind]) : -1;
	if (pid < 0)
		return usage_error(&command, "which process?");
	return show(pid, format);
}
