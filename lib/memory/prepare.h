/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PREPARE_H
#define RDM_PREPARE_H

/*
 * Makes memory fit to be pinned. The order matters: DONTFORK first, so that no
 * fork can share a page that is written next; unmergeable, so that KSM cannot
 * undo the write; then populate, which writes; and write once more immediately
 * before each pin, because paging can undo it in between.
 *
 * Called by the slab floor and by kinds of memory under the quiesce lock, so no fork of
 * ours runs meanwhile. Failures get their log line here.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "rdmalloc.h"

/* Settled: no field says "default". */
struct rdm_memory_kind {
	enum rdm_backing backing;
	enum rdm_pages pages;
	int node; /* -1: any */
};

/* Bytes of one page of the kind. */
size_t rdm_prepare_page_size(const struct rdm_memory_kind *kind);

/* 0, or ENOTSUP with a log line when this machine has no such thing. */
int rdm_prepare_check(const struct rdm_memory_kind *kind);

/*
 * Maps memory for slabs at these addresses of the reserve, and does all that comes
 * before a write. A failure is logged at that level. 0 or errno; EADDRINUSE: it
 * failed, and somebody else has got the addresses meanwhile.
 */
int rdm_prepare_map(void *addr, size_t length, size_t slab, const struct rdm_memory_kind *kind,
		    enum rdm_log_level level);

/*
 * Populates a part of what was mapped, by writing. Threads may do it at a time. write:
 * nothing will be registered, so write to each page here. 0, or ENOMEM without a
 * log line, which rdm_prepare_no_memory() makes.
 */
int rdm_prepare_populate(void *addr, size_t length, bool write);
void rdm_prepare_no_memory(size_t length);

/* Prepares a child's memory, which is mapped, and keeps what is in it. 0 or errno. */
int rdm_prepare_again(void *addr, size_t length, const struct rdm_memory_kind *kind);

/* Only the first step, also again, after a stranger may have undone it. 0 or errno with a log line. */
int rdm_prepare_dontfork(void *addr, size_t length);

/* KSM leaves it alone from here on, whoever asked it, for the memory or the whole process. */
void rdm_prepare_unmerge(void *addr, size_t length);

/*
 * The same for memory that was unmergeable when it was mapped a moment ago: only
 * PR_SET_MEMORY_MERGE may have come since. madvise() would wait for every thread
 * that populates.
 */
void rdm_prepare_unmerge_new(void *addr, size_t length);

/* Writes to each base page without changing it, also while others use it. */
void rdm_prepare_dirty(void *addr, size_t length);

#endif
