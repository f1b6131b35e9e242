/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PICTURE_LAYOUT_H
#define RDM_PICTURE_LAYOUT_H

/*
 * What a process publishes of its heap: one picture in a memfd of this name, which whoever may
 * trace the process finds in /proc/PID/fd. The header, then the pools, the slabs, the cells, each
 * as many as the header says.
 *
 * The sequence is odd while the picture is written: a reader copies everything, and has a whole
 * picture when the sequence was even and the same before and after. A change of anything in here
 * is a new version, but the first two fields stay.
 */

#include <stdint.h>

#define RDM_PICTURE_NAME "rdmalloc-stats"
#define RDM_PICTURE_MAGIC UINT64_C(0x7374617473646d72) /* "rdmstats" */
#define RDM_PICTURE_VERSION 1

/* What is drawn; of more the header says how many are left out. */
#define RDM_PICTURE_POOLS 1024
#define RDM_PICTURE_SLABS 32768
#define RDM_PICTURE_CELLS 131072
#define RDM_PICTURE_RAILS 8

enum rdm_picture_flags {
	RDM_PICTURE_PRELOAD = 1, /* it is librdmalloc-preload.so's */
};

struct rdm_picture_header {
	uint64_t magic;
	uint32_t version;
	uint32_t flags;
	uint64_t sequence;
	uint64_t bytes; /* of the picture, with the header */
	uint64_t pid;   /* as the process itself sees it */
	uint64_t start; /* of the process: field 22 of /proc/PID/stat */
	uint64_t time_ns;
	uint64_t interval_ns; /* how long until the next one */
	uint64_t took_ns;     /* of a CPU, to make it */
	uint64_t forks;
	uint64_t last_fork_ns;
	uint64_t reserve_base;
	uint64_t reserve_bytes;
	uint64_t page_bytes; /* the kernel's */
	uint32_t pools, slabs, cells;
	uint32_t cell_shift; /* bytes of heap that a cell stands for, 64 KiB at least */
	uint32_t pools_left_out, slabs_left_out;
	char library[16]; /* its version */
};

enum rdm_picture_pool_flags {
	RDM_PICTURE_POOL_INHERITED = 1,
	RDM_PICTURE_POOL_PLAIN = 2,     /* the preload's kind */
	RDM_PICTURE_POOL_HERITABLE = 4, /* children go on with it */
};

/* As struct rdm_stats, where there is such a field. */
struct rdm_picture_pool {
	char name[32];
	char rail_names[RDM_PICTURE_RAILS][24]; /* empty: no such rail */
	uint32_t flags;
	uint32_t backing, pages, fork; /* as in rdmalloc.h */
	int32_t node;
	uint32_t rails;
	uint64_t slab_size;
	uint64_t limit;
	uint64_t slabs;
	uint64_t slab_bytes;
	uint64_t carved_bytes;
	uint64_t live_bytes;
	uint64_t live_blocks;
	uint64_t magazine_bytes;
	uint64_t depot_bytes;
	uint64_t pinned_bytes; /* what rails have; plain: what is registered */
	uint64_t quarantined;
	uint64_t registrations;
	uint64_t deregistrations;
	uint64_t growths;
	uint64_t background_growths;
	/* What magazines asked the depot for. Their own hits are not counted: that would cost. */
	uint64_t refills;
	uint64_t refills_served;
	/* Of the last rdm_pool_audit(); time 0: there was none. */
	uint64_t audit_time_ns;
	uint64_t audit_pages;
	uint64_t audit_violations;
};

struct rdm_picture_slab {
	uint64_t base;
	uint64_t length;
	uint64_t pinned_bytes;
	uint32_t pool; /* its index */
	uint32_t first_cell;
	uint32_t rails; /* that have registered it, a bit for each */
	uint32_t quarantined;
};

/* In units of 64 bytes. Carved and not live: in magazines, in the depot, in the arena. */
struct rdm_picture_cell {
	uint16_t live;
	uint16_t carved;
};

#endif
