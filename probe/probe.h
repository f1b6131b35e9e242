/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_H
#define RDM_PROBE_H

/*
 * Does a device still see the same bytes as the CPU?
 *
 * An *engine* holds pages as a device does. A *hazard* is what happens between
 * the pin and the check. A *memory* says where the pages come from. One probe:
 * get the memory, let the engine take it, let the hazard happen, then write on
 * one side and read on the other. No step waits for time to pass.
 *
 * Only pool_memory.c knows rdmalloc: a pool comes in as a struct probe_memory.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ibv_pd;
struct io_uring;

enum probe_verdict {
	PROBE_COHERENT,
	PROBE_LOST,    /* the two sides saw different bytes */
	PROBE_SKIPPED, /* this machine has not got what is needed */
	PROBE_BROKEN,  /* the probe went wrong: says nothing, must not happen */
};

/* Pages that one probe takes: enough to tell neighbours, few enough for the smallest pipe. */
#define PROBE_PAGES 4

struct probe_outcome {
	enum probe_verdict verdict;
	unsigned rounds;     /* complete ones */
	unsigned lost;       /* rounds that lost something */
	uint32_t stale;      /* which pages, a bit for each of the first ones */
	size_t device_stale; /* pages where the device missed what the CPU wrote */
	size_t cpu_stale;    /* pages where the CPU missed what the device wrote */
	/* What /proc/self/pagemap said of the first pages: at the pin, and after the check. */
	uint64_t at_pin[PROBE_PAGES], at_end[PROBE_PAGES];
	char reason[256]; /* SKIPPED, BROKEN: why */
};

/* Parts of an entry of pagemap. The frame is 0 without CAP_SYS_ADMIN. */
#define PROBE_FRAME(entry) ((entry) & (((uint64_t)1 << 55) - 1))
#define PROBE_EXCLUSIVE(entry) ((entry) >> 56 & 1)
#define PROBE_SWAPPED(entry) ((entry) >> 62 & 1)
#define PROBE_PRESENT(entry) ((entry) >> 63 & 1)
/* Of n pages; 0 for what cannot be read. */
void probe_pagemap(const void *addr, uint64_t *entry, size_t n);

const char *probe_verdict_name(enum probe_verdict verdict);

/* Both set verdict and reason and return -1. */
__attribute__((format(printf, 2, 3))) int probe_skip(struct probe_outcome *out, const char *format,
						     ...);
__attribute__((format(printf, 2, 3))) int probe_broken(struct probe_outcome *out,
						       const char *format, ...);
/* One of the two: an error that a bigger limit or another kernel cures is SKIPPED. */
int probe_refused(struct probe_outcome *out, const char *what, int error);

/* A piece of memory under test. */
struct probe_buffer {
	unsigned char *addr;
	size_t length;   /* whole pages; what the device takes */
	size_t extent;   /* from addr: all that is the memory's own, huge pages as a whole */
	bool registered; /* with the engine's device; else pin does it */
	uint32_t lkey;   /* io_uring: the index of the fixed buffer */
	uint32_t rkey;
	void *owner; /* the memory's own */
};

/*
 * get: fills addr, owner and, if it is more than the length that is asked for,
 * extent. prepare: does to it what a careful user does. attach: registers it with
 * the device's ring or protection domain, and sets registered and the keys. All
 * return 0 or a positive errno value; the last two may be NULL, and get may do what
 * they would, but then no hazard strikes in between. put: undoes everything.
 */
struct probe_device;
struct probe_memory {
	const char *name;
	int (*get)(void *context, const struct probe_device *device, struct probe_buffer *buffer);
	int (*prepare)(void *context, struct probe_buffer *buffer);
	int (*attach)(void *context, const struct probe_device *device,
		      struct probe_buffer *buffer);
	void (*put)(void *context, struct probe_buffer *buffer);
	void *context;
};

/* get, prepare and attach. 0 or -1; then nothing is left to put. */
int probe_buffer_get(const struct probe_memory *memory, const struct probe_device *device,
		     struct probe_buffer *buffer, struct probe_outcome *out);

/* Private memory, never touched before; what is then done, advice first. */
enum probe_care {
	PROBE_CARE_DONTFORK = 1,
	PROBE_CARE_READ = 2,
	PROBE_CARE_WRITE = 4,
	PROBE_CARE_THP = 8,     /* MADV_HUGEPAGE */
	PROBE_CARE_NO_THP = 16, /* MADV_NOHUGEPAGE */
	PROBE_CARE_HUGETLB = 32,
};
int probe_take_care(void *context, struct probe_buffer *buffer);
/* From malloc(). */
#define PROBE_MALLOC(label, care)                                                     \
	{                                                                             \
		.name = (label), .get = probe_malloc_get, .prepare = probe_take_care, \
		.put = probe_malloc_put, .context = (void *)(uintptr_t)(care),        \
	}
int probe_malloc_get(void *context, const struct probe_device *device, struct probe_buffer *buffer);
void probe_malloc_put(void *context, struct probe_buffer *buffer);
/* From mmap(); with THP or HUGETLB whole huge pages, of which the device takes the first part. */
#define PROBE_MAP(label, care)                                                     \
	{                                                                          \
		.name = (label), .get = probe_map_get, .prepare = probe_take_care, \
		.put = probe_map_put, .context = (void *)(uintptr_t)(care),        \
	}
#define PROBE_HUGE ((size_t)2 << 20)
int probe_map_get(void *context, const struct probe_device *device, struct probe_buffer *buffer);
void probe_map_put(void *context, struct probe_buffer *buffer);

extern const struct probe_memory probe_malloc;          /* untouched */
extern const struct probe_memory probe_malloc_dontfork; /* untouched, DONTFORK */
extern const struct probe_memory probe_malloc_read;     /* read: the zero page */
extern const struct probe_memory probe_malloc_written;
extern const struct probe_memory probe_malloc_recipe; /* DONTFORK, then written */

/* What an engine needs while it holds pages. */
struct probe_device {
	const struct probe_engine *engine;
	struct io_uring *ring; /* io_uring only */
	struct ibv_pd *pd;     /* verbs only */
	int access;            /* what verbs memory is registered for */
	struct probe_verbs *verbs;
	struct probe_xdp *xdp;
	int fd[2];   /* vmsplice: the pipe; io_uring: a memfd, where the device's data is */
	size_t held; /* bytes that it holds */
	bool pinned; /* buffers registered by probe_device_pin() */
};

struct probe_engine {
	const char *name;
	int (*open)(struct probe_device *device, struct probe_outcome *out);
	int (*pin)(struct probe_device *device, struct probe_buffer *buffer,
		   struct probe_outcome *out);
	/* Adds to device_stale and cpu_stale. A vmsplice'd page can be read once. */
	int (*check)(struct probe_device *device, const struct probe_buffer *buffer,
		     struct probe_outcome *out);
	void (*unpin)(struct probe_device *device);
	void (*close)(struct probe_device *device);
};

extern const struct probe_engine probe_vmsplice; /* a page reference; the device reads later */
extern const struct probe_engine probe_uring;    /* fixed buffers, a long-term pin; both ways */
extern const struct probe_engine probe_xdp; /* AF_XDP, a long-term pin; the device sends frames */

/*
 * A transfer that is under way while the hazard strikes: to or from a file of ours
 * (FUSE, direct_io), whose reply is withheld, or by O_DIRECT to or from a loop device
 * of ours on top of it. Read is what read(2) does: the device writes the memory.
 */
extern const struct probe_engine probe_fuse_read;
extern const struct probe_engine probe_fuse_write;
extern const struct probe_engine probe_direct_read;
extern const struct probe_engine probe_direct_write;
/*
 * Once, by a process with one thread, where it is not root: in namespaces of its own
 * it may mount FUSE and open AF_XDP sockets. -1 with errno: they will be SKIPPED.
 */
int probe_enter_namespaces(void);
/*
 * A loop device for the O_DIRECT engines of this process and its children. When they
 * are gone it must be removed. -1 with errno: the engines will be SKIPPED.
 */
int probe_loop_reserve(void);
void probe_loop_remove(void);
/* Puts the file on the device, which goes when it is closed. A descriptor, or -1 with errno. */
int probe_loop_attach(int number, int file);
/* A new device: its number, or -1 with errno. */
int probe_loop_add(void);
void probe_loop_delete(int number);

/*
 * The first RDMA device that has an active port. This process is the peer, too:
 * it sends or receives, or reads or writes the memory under test by RDMA.
 */
extern const struct probe_engine probe_verbs_send; /* the device reads the memory */
extern const struct probe_engine probe_verbs_recv; /* the device writes it */
extern const struct probe_engine probe_verbs_read; /* by the peer: the device reads */
extern const struct probe_engine probe_verbs_write;

/*
 * The engines step by step, for a test with a hazard of its own: open, get the
 * memory for the device, pin, the hazard, check, unpin, put, close.
 * 0 or -1; then *out says why. unpin and close may follow any failure.
 */
int probe_device_open(struct probe_device *device, const struct probe_engine *engine,
		      struct probe_outcome *out);
int probe_device_pin(struct probe_device *device, struct probe_buffer *buffer,
		     struct probe_outcome *out);
int probe_device_check(struct probe_device *device, const struct probe_buffer *buffer,
		       struct probe_outcome *out);
void probe_device_unpin(struct probe_device *device);
void probe_device_close(struct probe_device *device);

/*
 * io_uring only: the device copies length bytes to (from) CPU memory from (to)
 * registered memory at addr. 0 or a positive errno value.
 */
int probe_device_read(struct probe_device *device, unsigned index, const void *addr, void *to,
		      size_t length);
int probe_device_write(struct probe_device *device, unsigned index, void *addr, const void *from,
		       size_t length);

enum probe_when {
	PROBE_PINNED,   /* between the pin and the check */
	PROBE_PREPARED, /* between preparing and pinning, or registering */
	PROBE_WRITTEN,  /* before the memory is prepared; it has been written, once */
};

/* What happens, and when. All zero: nothing. */
struct probe_hazard {
	const char *name;
	enum probe_when when;
	unsigned forks;      /* children, one after the other */
	bool children_exit;  /* each is gone before the next step; else they live to the end */
	bool children_write; /* each first writes to every page, where it has the page */
	/* Something else that is done to the memory; may skip. And what undoes it for the process. */
	int (*strike)(const struct probe_buffer *buffer, struct probe_outcome *out);
	void (*undo)(void);
	/* A thread forks all the time, from before the memory is got. With forks: the check is
	 * repeated until so many of its children have come and gone. */
	bool sibling;
	unsigned rounds; /* times that all of it is done; 0: once */
};

extern const struct probe_hazard probe_no_fork;
extern const struct probe_hazard probe_fork_lives;
extern const struct probe_hazard probe_fork_exits;
extern const struct probe_hazard probe_sibling_forks;
extern const struct probe_hazard probe_child_writes;
extern const struct probe_hazard probe_many_forks;
/* No memory survives it: shows that an engine can tell LOST from coherent. */
extern const struct probe_hazard probe_purge;
extern const struct probe_hazard probe_written_fork; /* child lives; then it is prepared */
extern const struct probe_hazard probe_clear_refs;   /* soft-dirty tracking starts anew */
extern const struct probe_hazard probe_protect;      /* read-only, and back */
extern const struct probe_hazard probe_pageout;      /* then pinned */
extern const struct probe_hazard probe_pinned_pageout;
extern const struct probe_hazard probe_zero_split;    /* a THP full of zeros is split */
extern const struct probe_hazard probe_merge;         /* KSM, MADV_MERGEABLE */
extern const struct probe_hazard probe_merge_process; /* KSM, PR_SET_MEMORY_MERGE */

/* One probe. No child, thread or descriptor is left, whatever happens. */
enum probe_verdict probe_run(const struct probe_engine *engine, const struct probe_hazard *hazard,
			     const struct probe_memory *memory, struct probe_outcome *out);

/*
 * The same hazard strikes several engines at once, each with memory of its own.
 * out: one for each engine.
 */
#define PROBE_ENGINES_MAX 8
void probe_run_all(const struct probe_engine *const *engines, size_t n,
		   const struct probe_hazard *hazard, const struct probe_memory *memory,
		   struct probe_outcome *out);

/* What a child finds at addr. */
enum probe_view {
	PROBE_VIEW_HOLE, /* SIGSEGV on every page */
	PROBE_VIEW_ZEROS,
	PROBE_VIEW_BYTES, /* what was there at the fork, although the parent wrote since */
	PROBE_VIEW_OTHER,
	PROBE_VIEW_ERROR, /* could not be found out: errno */
};
/* Overwrites the memory. length: whole pages. */
enum probe_view probe_child_view(void *addr, size_t length);

struct probe_cost {
	uint64_t median_ns;
	uint64_t min_ns;
	uint64_t max_ns;
};
#define PROBE_COST_ROUNDS_MAX 64
/*
 * The time that fork() takes in the parent while io_uring pins `length` bytes
 * of memory, `rounds` times. memory NULL: nothing is pinned.
 */
int probe_fork_cost(const struct probe_memory *memory, size_t length, unsigned rounds,
		    struct probe_cost *cost, struct probe_outcome *out);

#endif
