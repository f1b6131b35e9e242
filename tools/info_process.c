/* SPDX-License-Identifier: BSD-2-Clause */
#include "info_process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "figures.h"
#include "output.h"
#include "proc.h"
#include "published.h"

#define PATH_BYTES 4096
#define CONF "RDMALLOC_CONF="

struct facts {
	char preload[PATH_BYTES], library[PATH_BYTES]; /* empty: it has none */
	char conf[PATH_BYTES];                         /* when it was started */
	uint64_t locked, pinned;                       /* bytes */
	char memlock[64];                              /* the limit, as it is in /proc */
	unsigned threads;
};

static void copy(char *to, const char *from)
{
	snprintf(to, PATH_BYTES, "%s", from);
	clean_text(to, PATH_BYTES);
}

static void look_at_mapping(void *into, const char *line)
{
	struct facts *facts = into;
	const char *path = strchr(line, '/');
	const char *name = path ? strrchr(path, '/') : NULL;

	if (!name)
		return;
	if (!strncmp(name, "/librdmalloc-preload", strlen("/librdmalloc-preload")))
		copy(facts->preload, path);
	else if (!strncmp(name, "/librdmalloc.so", strlen("/librdmalloc.so")))
		copy(facts->library, path);
}

static void look_at_variable(void *into, const char *line)
{
	struct facts *facts = into;

	if (!strncmp(line, CONF, strlen(CONF)))
		copy(facts->conf, line + strlen(CONF));
}

static void look_at_status(void *into, const char *line)
{
	struct facts *facts = into;
	uint64_t number;

	if (sscanf(line, "VmLck: %" SCNu64 " kB", &number) == 1)
		facts->locked = number << 10;
	else if (sscanf(line, "VmPin: %" SCNu64 " kB", &number) == 1)
		facts->pinned = number << 10;
	else if (sscanf(line, "Threads: %" SCNu64, &number) == 1)
		facts->threads = (unsigned)number;
}

static void look_at_limit(void *into, const char *line)
{
	struct facts *facts = into;
	static const char name[] = "Max locked memory";

	if (!strncmp(line, name, strlen(name)))
		sscanf(line + strlen(name), " %63s", facts->memlock);
}

static bool collect(pid_t pid, struct facts *facts)
{
	*facts = (struct facts){ .locked = 0 };
	proc_each_line(pid, "status", '\n', look_at_status, facts);
	proc_each_line(pid, "limits", '\n', look_at_limit, facts);
	proc_each_line(pid, "environ", '\0', look_at_variable, facts);
	return proc_each_line(pid, "maps", '\n', look_at_mapping, facts);
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static int print_json(const struct heap *heap, const struct facts *facts)
{
	return output_json(json_pack(
		"{s:i,s:s,s:o,s:o,s:o,s:s,s:I,s:I,s:i,s:o}", "pid", (int)heap->pid, "program",
		heap->program, "library", text_or_null(facts->library), "preload",
		text_or_null(facts->preload), "conf", text_or_null(facts->conf), "memlock",
		facts->memlock, "locked_bytes", (json_int_t)facts->locked, "pinned_bytes",
		(json_int_t)facts->pinned, "threads", (int)facts->threads, "published",
		heap->header ? heap_json(heap) : json_null()));
}

static void print_memlock(const struct facts *facts)
{
	char locked[16], pinned[16], limit[16];
	char *end;
	uint64_t bytes = strtoull(facts->memlock, &end, 10);

	heap_size(facts->locked, locked);
	heap_size(facts->pinned, pinned);
	heap_size(bytes, limit);
	printf("  memory     %s pinned, %s locked, limit (RLIMIT_MEMLOCK) %s\n", pinned, locked,
	       *facts->memlock && !*end ? limit : "unlimited");
}

static void print_published(const struct heap *heap)
{
	const struct rdm_picture_header *header = heap->header;
	uint64_t slabs = 0, live = 0;
	char all[16], used[16], reserve[16];

	for (uint32_t i = 0; i < header->pools; i++) {
		slabs += heap->pools[i].slab_bytes;
		live += heap->pools[i].live_bytes;
	}
	heap_size(slabs, all);
	heap_size(live, used);
	heap_size(header->reserve_bytes, reserve);
	printf("  publishes  rdmalloc %s, %u pools, %s in slabs, %s live, reserve %s, %" PRIu64
	       " forks\n",
	       header->library, header->pools, all, used, reserve, header->forks);
	for (uint32_t i = 0; i < header->pools; i++) {
		char rails[128];

		heap_rails(&heap->pools[i], rails, sizeof(rails));
		printf("    pool %s: %s, pages %s, fork %s, rails %s\n", heap->pools[i].name,
		       heap_backing(&heap->pools[i]), heap_pages(&heap->pools[i]),
		       heap_policy(&heap->pools[i]), rails);
	}
}

static void print_text(const struct heap *heap, const struct facts *facts)
{
	print_coloured(stdout, COLOUR_BOLD, "process %d, %s", (int)heap->pid, heap->program);
	printf(", %u threads\n", facts->threads);
	if (*facts->preload)
		printf("  preload    %s\n", facts->preload);
	if (*facts->library)
		printf("  library    %s\n", facts->library);
	printf("  settings   %s\n",
	       *facts->conf ? facts->conf : "RDMALLOC_CONF was not set when it was started");
	print_memlock(facts);
	if (heap->header)
		print_published(heap);
	else
		printf("  publishes  nothing: %s\n", heap->problem);
}

int info_of_process(pid_t pid, bool json)
{
	struct heap heap;
	struct heap_patience patience;
	enum heap_error error;
	struct facts facts;
	int failed = 0;

	heap_be_patient(&patience);
	error = heap_read(&heap, pid, &patience);

	if (error == HEAP_DEAD || error == HEAP_DENIED) {
		fprintf(stderr, "rdmalloc: %s\n", heap.problem);
		return FINDING;
	}
	if (!collect(pid, &facts)) {
		fprintf(stderr, "rdmalloc: process %d: /proc/%d/maps cannot be read: %s\n",
			(int)pid, (int)pid, strerror(errno));
		heap_free(&heap);
		return FINDING;
	}
	/* A program that is linked statically can be told by its page only. */
	if (!*facts.preload && !*facts.library && !heap.header) {
		fprintf(stderr, "rdmalloc: process %d, %s, has no library of rdmalloc's\n",
			(int)pid, heap.program);
		failed = 1;
	} else if (json) {
		failed = print_json(&heap, &facts);
	} else {
		print_text(&heap, &facts);
	}
	heap_free(&heap);
	return failed ? FINDING : FINE;
}
