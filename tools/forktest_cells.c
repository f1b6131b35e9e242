/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be tested, and what of it was asked for. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "forktest.h"
#include "pool_memory.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct forktest_engine forktest_engines[] = {
	{ "vmsplice", "a pipe holds the pages and is read later", &probe_vmsplice },
	{ "io_uring", "fixed buffers, both ways", &probe_uring },
	{ "af_xdp", "frames are sent out of the pages", &probe_xdp },
	{ "direct-read", "O_DIRECT, under way: the device writes", &probe_direct_read },
	{ "direct-write", "O_DIRECT, under way: the device reads", &probe_direct_write },
	{ "fuse-read", "direct_io, under way: the device writes", &probe_fuse_read },
	{ "fuse-write", "direct_io, under way: the device reads", &probe_fuse_write },
	{ "verbs-read", "RDMA read by a peer: the device reads", &probe_verbs_read },
	{ "verbs-write", "RDMA write by a peer: the device writes", &probe_verbs_write },
};
const size_t forktest_engine_count = COUNT(forktest_engines);

const struct forktest_hazard forktest_hazards[] = {
	{ "none", "nothing", &probe_no_fork, "the kernel gave the first write another page", 0, 0 },
	{ "fork-lives", "fork, child lives", &probe_fork_lives,
	  "fork() shared it with the child, and the parent's next write got a copy", 0, 0 },
	{ "fork-exits", "fork, child exits", &probe_fork_exits,
	  "fork() made it read-only, and the next write got a copy although the child was gone", 0,
	  0 },
	{ "fork-writes", "fork, child writes first", &probe_child_writes,
	  "fork() shared it with the child, and one of the two got a copy", 0, 0 },
	{ "write-fork", "written, fork, prepared", &probe_written_fork,
	  "it was shared with a child before it was prepared, and the next write got a copy", 1,
	  0 },
	{ "clear-refs", "soft-dirty cleared", &probe_clear_refs,
	  "clearing the soft-dirty bits made it read-only, and the next write got a copy", 0, 1 },
	{ "mprotect", "mprotect read-only and back", &probe_protect,
	  "mprotect() made it read-only for a while, and the next write got a copy", 0, 1 },
	{ "dontneed", "MADV_DONTNEED", &probe_purge,
	  "MADV_DONTNEED took it away from the process, and the next touch got a new one", 0, 1 },
	{ "pageout-before", "paged out, then pinned", &probe_pageout,
	  "it came back from swap read-only for the pin, and the next write got a copy", 0, 0 },
	{ "pageout-pinned", "pinned, then paged out", &probe_pinned_pageout,
	  "it went to the swap cache under the pin, and the next touch got a copy", 0, 0 },
	{ "thp-zeros", "a THP of zeros is split", &probe_zero_split,
	  "the split put the shared zero page in its place, and the next write got a new one", 1,
	  0 },
	{ "ksm-range", "KSM merged, MADV_MERGEABLE", &probe_merge,
	  "KSM had merged it with an equal page, and the next write got a copy", 1, 0 },
	{ "ksm-process", "KSM merged, whole process", &probe_merge_process,
	  "KSM had merged it with an equal page, and the next write got a copy", 1, 0 },
};
const size_t forktest_hazard_count = COUNT(forktest_hazards);

#define PLAIN(label, care, is_written)                                                                 \
	{ label, label, "base", false, is_written, PROBE_MAP(label, care) },                           \
		{ label, label, "thp", false, is_written, PROBE_MAP(label, (care) | PROBE_CARE_THP) }, \
	{                                                                                              \
		label, label, "hugetlb", false, is_written,                                            \
			PROBE_MAP(label, (care) | PROBE_CARE_HUGETLB)                                  \
	}
#define OURS(name, backing_word, backing, pages)                                    \
	{                                                                           \
		"rdmalloc-" name, name, backing_word, true, true,                   \
			PROBE_POOL("rdmalloc " name, backing, pages, RDM_FORK_HOLE) \
	}

/* clang-format off */
const struct forktest_memory forktest_memories[] = {
	PLAIN("plain", 0, false),
	PLAIN("dontfork", PROBE_CARE_DONTFORK, false),
	PLAIN("read", PROBE_CARE_READ, false),
	PLAIN("written", PROBE_CARE_WRITE, true),
	PLAIN("recipe", PROBE_CARE_DONTFORK | PROBE_CARE_WRITE, true),
	OURS("anon", "base", RDM_BACKING_ANON, RDM_PAGES_BASE),
	OURS("anon", "thp", RDM_BACKING_ANON, RDM_PAGES_THP),
	OURS("hugetlb", "hugetlb", RDM_BACKING_HUGETLB, RDM_PAGES_2M),
	OURS("shared", "base", RDM_BACKING_SHARED, RDM_PAGES_BASE),
};
/* clang-format on */
const size_t forktest_memory_count = COUNT(forktest_memories);

/* Whether a comma list has the word, or the part of it before its dash. */
static bool is_in(const char *list, const char *word)
{
	size_t whole = strlen(word), group = strcspn(word, "-");

	for (; list && *list; list += *list == ',') {
		size_t length = strcspn(list, ",");

		if ((length == whole || length == group) && !strncmp(list, word, length))
			return true;
		list += length;
	}
	return !list;
}

struct forktest_cell *forktest_select(const struct forktest_selection *selection, size_t *n)
{
	size_t all = COUNT(forktest_engines) * COUNT(forktest_hazards) * COUNT(forktest_memories);
	struct forktest_cell *cell = mmap(NULL, all * sizeof(*cell), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	*n = 0;
	if (cell == MAP_FAILED)
		return NULL;
	for (size_t i = 0; i < all; i++) {
		const struct forktest_memory *memory =
			&forktest_memories[i % COUNT(forktest_memories)];
		size_t row = i / COUNT(forktest_memories);
		const struct forktest_hazard *hazard =
			&forktest_hazards[row % COUNT(forktest_hazards)];
		const struct forktest_engine *engine =
			&forktest_engines[row / COUNT(forktest_hazards)];

		if (is_in(selection->engine, engine->word) &&
		    is_in(selection->hazard, hazard->word) &&
		    is_in(selection->memory, memory->word) &&
		    is_in(selection->backing, memory->backing))
			cell[(*n)++] =
				(struct forktest_cell){ engine, hazard, memory, .done = false };
	}
	return cell;
}
