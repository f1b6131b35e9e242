/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SLAB_H
#define RDM_SLAB_H

/*
 * Slabs: runs of granules that are prepared, registered with each rail of
 * their pool, and carved into runs of pages. A set is all slabs of a pool.
 *
 * Two locks. Adding, releasing and registering slabs happens under the quiesce
 * lock. Carving takes the set's own lock, a leaf: the arena's hooks take it
 * with jemalloc's locks held, so nothing under it allocates or logs.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "memory/prepare.h"
#include "memory/rail.h"
#include "memory/reserve.h"
#include "rdmalloc.h"
#include "slab/slab_index.h"
#include "slab/warm.h"
#include "slab/watermark.h"
#include "sync/lock.h"

struct rdm_heap;
struct rdm_pool;

#define RDM_CACHE_LINE 64

struct rdm_slab_set;

struct rdm_slab {
	/* What free() reads is one line, written with the slab's life only. */
	_Alignas(RDM_CACHE_LINE) struct rdm_slab_set *set;
	struct rdm_heap *heap; /* that its blocks come from and go to */
	char *base;
	size_t length;
	size_t pages;
	_Atomic unsigned keyed; /* see rdm_slab_rails() */
	bool quarantined;       /* a rail refused to let it go: mapped, not used */
	struct rdm_mr mr[RDM_RAILS_MAX];
	/* What carving writes. */
	_Alignas(RDM_CACHE_LINE) size_t free_pages;
	size_t hint; /* no free page before it */
	TAILQ_ENTRY(rdm_slab) link;
	void *shadow;             /* snapshot.c: the child's copy, while fork() runs */
	_Atomic(uint16_t *) pins; /* of the ops: a count for each page, once there was one */
	_Atomic bool pinned_late; /* of the ops: since fork() had what was pinned copied */
	_Atomic(uint8_t *) notes; /* of the ops: a byte for each page, once there was one */
	unsigned long *used;      /* fresh.c: a bit for each page that a block has had, or NULL */
	unsigned long *warm;      /* a bit for each page, and the granules' sums; or NULL */
	struct rdm_warmth *warmth;
	unsigned long carved[]; /* a bit for each page */
};

static inline size_t rdm_slab_granule(const struct rdm_slab *slab)
{
	return rdm_reserve_distance(slab->base) >> RDM_GRANULE_SHIFT;
}

struct rdm_run {
	char *at;
	size_t size;
};

/*
 * What a set does in the way of its kind of memory. NULL where the kind has nothing to do.
 * Under the quiesce lock, where nothing else is said.
 */
struct rdm_slab_ops {
	/* Maps memory for slabs of that length, and does all that comes before a write: as rdm_prepare_map(). */
	int (*map)(const struct rdm_slab_set *set, void *addr, size_t length, size_t slab,
		   enum rdm_log_level level);
	/* Populates and registers what is mapped: as rdm_fill(). NULL: it is ready. */
	int (*fill)(struct rdm_slab_set *set, struct rdm_slab *const slab[], size_t count,
		    size_t *complete);
	/* Whether something uses pages of a slab of which nothing is carved; under the set's lock. */
	bool (*is_in_use)(const struct rdm_slab *slab);
	/* The slab's record goes. */
	void (*forget)(struct rdm_slab *slab);
	size_t (*pinned_bytes)(const struct rdm_slab *slab);
	/* Runs of one set, before anybody can have them again; inside the gate, with no lock. */
	void (*uncarved)(const struct rdm_run *run, size_t count);
	/*
	 * The kernel has the pages of runs of one set back, which nobody can have meanwhile; inside
	 * the gate, with no lock. False: not all of them. NULL: pages stay where they are.
	 */
	bool (*discard)(const struct rdm_run *run, size_t count);
	/* Makes the first `size` bytes zero where a block has had all, with no lock. NULL: by writing. */
	void (*zero)(char *at, size_t size, size_t usable);
	/* Moves whole pages of one block to another; no lock. False: nothing was moved. */
	bool (*move)(void *to, void *from, size_t length);
	/* Around fork(), with the set's lock held; copy is for rdm_snapshot_take(). */
	void (*prefork)(struct rdm_slab_set *set);
	void (*copy)(const struct rdm_slab *slab, char *shadow);
	void (*postfork_parent)(struct rdm_slab_set *set);
	void (*postfork_child)(struct rdm_slab_set *set);
	bool outlives_fork; /* children inherit what is not registered, and go on with the pool */
	bool spills;        /* somebody else serves what the set cannot: no errors are logged */
	unsigned picture_flags; /* what watchers are told of the kind */
};

struct rdm_slab_set {
	const struct rdm_slab_ops *ops;
	struct rdm_pool *pool;
	struct rdm_heap *heap;
	struct rdm_memory_kind kind;
	enum rdm_fork_policy fork;
	struct rdm_lock lock;
	bool locked_by_fork;                       /* fork.c's */
	bool has_holes;                            /* in a child: where copies could not be had */
	TAILQ_HEAD(rdm_slab_list, rdm_slab) slabs; /* by address */
	struct rdm_slab_index index;               /* under lock */
	size_t bytes;                              /* of slabs in use; written under both locks */
	size_t quarantined;                        /* of the others; under the quiesce lock */
	size_t carved_pages;                       /* under lock */
	struct rdm_warm warm;                      /* under lock */
	struct rdm_watermark watermark;
	struct rdm_rail rails[RDM_RAILS_MAX];
	_Atomic uint64_t registrations; /* by several threads, see fill.h */
	uint64_t deregistrations, growths;
};

/*
 * Opens the reserve and the tables beside it, once a process. inheritable: children inherit what
 * is free of it, too, for there will be no other sets. 0 or errno.
 */
int rdm_slabs_open_reserve(bool inheritable);

/* `ops`, `kind` and `fork` are set. */
void rdm_slabs_init(struct rdm_slab_set *set, struct rdm_pool *pool, struct rdm_heap *heap);
/* There are no slabs left. */
void rdm_slabs_destroy(struct rdm_slab_set *set);

/* Whether there are addresses for a slab of that length. */
bool rdm_slabs_have_room(size_t length, size_t align);

/* The most slabs that are made in one call. */
#define RDM_BATCH_MAX 128

/*
 * Slabs of the same length, prepared and registered: `count` of them, or fewer
 * where memory for so many is not to be had in one piece. *made says how many
 * there are now, also after an error. 0 or an errno value.
 */
int rdm_slabs_add_batch(struct rdm_slab_set *set, size_t length, size_t align, size_t count,
			size_t *made);
/* One slab. 0 or an errno value. */
int rdm_slabs_add(struct rdm_slab_set *set, size_t length, size_t align);

/*
 * Releases slabs with nothing carved while at least `keep` bytes stay. 0, or
 * errno when some had to be quarantined instead; they are tried again each time.
 */
int rdm_slabs_trim(struct rdm_slab_set *set, size_t keep);

/* After the arena has let go of everything: ends the runs that had bypassed it. */
void rdm_slabs_uncarve_all(struct rdm_slab_set *set);

/* In a child: puts inherited slabs into use again. 0 or an errno value. */
int rdm_slabs_adopt(struct rdm_slab_set *set);

/*
 * Carving, in carve.c. A run of whole pages, at `at` if that is not NULL, else
 * the one with the lowest address (but for large alignments). NULL when there
 * is none.
 */
void *rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align);
/* Runs of one set are free again; inside the gate, where pages of the set can be discarded. */
void rdm_slabs_uncarve(const struct rdm_run *run, size_t count);
/* Discards all free pages that can be. Inside the gate. */
void rdm_slabs_cool(struct rdm_slab_set *set);
/* As it seems without the lock. */
size_t rdm_slabs_carved_bytes(const struct rdm_slab_set *set);
/* Bytes that are carved or warm. */
size_t rdm_slabs_in_memory(struct rdm_slab_set *set);
/* Whether carve would find one. */
bool rdm_slabs_can_carve(struct rdm_slab_set *set, size_t size, size_t align);

/* Holds carving still, for who looks at what is carved. */
void rdm_slabs_lock(struct rdm_slab_set *set);
void rdm_slabs_unlock(struct rdm_slab_set *set);

#endif
