/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_PUBLISHED_H
#define TOOLS_PUBLISHED_H

/*
 * What other processes publish with RDMALLOC_CONF=publish:true, see lib/pool/picture_layout.h. Nothing in
 * there is believed, for anybody can make such a page, change it at any time, and root may look at
 * it: it is copied once, in the copy counts and indices are checked and texts are ended.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pool/picture_layout.h"

enum heap_error {
	HEAP_READ = 0,
	HEAP_DEAD,     /* no such process */
	HEAP_DENIED,   /* it may not be looked at */
	HEAP_ABSENT,   /* it publishes nothing */
	HEAP_STRANGER, /* what it has open is another process's, or of one before it */
	HEAP_CUT,      /* shorter than it says, or nonsense */
	HEAP_VERSION,  /* of another layout */
	HEAP_BUSY,     /* always being written */
};

/* A picture of a process. */
struct heap {
	pid_t pid;
	uid_t user;
	char program[64];
	struct rdm_picture_header *header; /* and all the rest */
	const struct rdm_picture_pool *pools;
	const struct rdm_picture_slab *slabs;
	const struct rdm_picture_cell *cells;
	char problem[256]; /* when there is an error: a line for people */
};

/*
 * How long to wait, in all, for pages that are half written: whoever reads many of them, which
 * may be as many as somebody likes, has one patience for them.
 */
struct heap_patience {
	long left_ns;
};
void heap_be_patient(struct heap_patience *patience);

enum heap_error heap_read(struct heap *heap, pid_t pid, struct heap_patience *patience);
/* As above, with a patience of its own; a line on stderr says what is wrong. False: there is nothing to be freed. */
bool heap_read_or_say(struct heap *heap, pid_t pid);
void heap_free(struct heap *heap);

/* "1234" to 1234; -1: that is no process's number. */
pid_t heap_parse_pid(const char *text);

/* Processes that may be looked at and publish something. An array to be freed; *count of them. */
pid_t *heap_find_all(size_t *count, struct heap_patience *patience);

#endif
