/* SPDX-License-Identifier: BSD-2-Clause */
#include "preload/reuse.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/resource.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/meta.h"
#include "memory/slab_map.h"
#include "slab/slab.h"
#include "sync/lock.h"

/* Idle regions, their bytes, and aliases at a time: more registrations are none of ours. */
#define IDLE_MAX 1024
#define IDLE_BYTES_MAX ((size_t)1 << 30)
#define ALIASES_MAX 16384
#define BUCKETS 1024

/*
 * Windows outlive no region that they are bound to, and what is based on zero or on demand
 * has no addresses to compare.
 */
#define RIGHTS                                                                       \
	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
	 IBV_ACCESS_REMOTE_ATOMIC | IBV_ACCESS_RELAXED_ORDERING)

enum place { LIVE, IDLE, DOOMED, ENDING };

struct rdm_region {
	TAILQ_ENTRY(rdm_region) link;   /* of its place */
	LIST_ENTRY(rdm_region) sibling; /* of those in the same slab */
	struct ibv_mr *real;
	/* Of the real one, which may be gone while this is looked at. */
	const struct ibv_context *context;
	const struct ibv_pd *pd;
	uintptr_t addr;
	size_t length;
	unsigned access;
	unsigned aliases;
	unsigned generation; /* of the process that made it */
	enum place place;
	bool keep;
};
TAILQ_HEAD(regions, rdm_region);

/* Starts like libibverbs' own record: drivers look behind the ibv_mr. */
struct alias {
	struct ibv_mr mr;
	int type; /* 0: memory */
	unsigned access;
	struct rdm_region *region; /* NULL: it is free */
};
_Static_assert(sizeof(struct alias) == 64, "an alias is a cache line");

/* Zeroed in a child; zero is a lock that nobody has, and a condition nobody waits for. */
struct book {
	struct rdm_lock lock;
	struct rdm_condition ended;
	bool is_open;
	unsigned next_alias;
	size_t idle, idle_bytes;
	struct regions places[ENDING + 1];
	LIST_HEAD(bucket, rdm_region) slabs[BUCKETS];
};

static struct book *book;
static struct alias *aliases;
static size_t idle_bytes_max;
/* Of this process: a child's is higher than its parent's as soon as it needs one. */
static unsigned generation;

static void *map(size_t length)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* Half of what may be locked: drivers need some of it for their queues. */
static size_t most_idle_bytes(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur / 2 > IDLE_BYTES_MAX)
		return IDLE_BYTES_MAX;
	return limit.rlim_cur / 2;
}

/* The last of our constructors: the others have read what is configured. */
__attribute__((constructor(103))) static void open_book(void)
{
	struct book *made;

	if (!rdm_conf()->mr_reuse)
		return;
	made = map(sizeof(*made));
	aliases = map(ALIASES_MAX * sizeof(*aliases));
	if (!made || !aliases || madvise(made, sizeof(*made), MADV_WIPEONFORK)) {
		rdm_log(RDM_LOG_WARN, "mr_reuse needs MADV_WIPEONFORK, which Linux has since 4.14: "
				      "nothing is reused");
		return;
	}
	idle_bytes_max = most_idle_bytes();
	book = made;
}

static void lock(void)
{
	rdm_lock_set_rank(&book->lock, RDM_RANK_REUSE);
	rdm_lock_take(&book->lock);
	if (book->is_open)
		return;
	for (unsigned i = 0; i <= ENDING; i++)
		TAILQ_INIT(&book->places[i]);
	generation++;
	book->is_open = true;
}

static void unlock(void)
{
	rdm_lock_release(&book->lock);
}

static bool is_in_one_slab(const void *addr, size_t length)
{
	const struct rdm_slab *slab = rdm_slab_of(addr);

	return slab && length <= slab->length - (size_t)((const char *)addr - slab->base);
}

bool rdm_reuse_covers(const void *addr, size_t length, uint64_t iova, unsigned access)
{
	return book && iova == (uintptr_t)addr && !(access & ~(unsigned)RIGHTS) &&
	       is_in_one_slab(addr, length);
}

/* A slab has its own, but for slabs that are far apart. */
static struct bucket *bucket_of(const void *addr)
{
	rdm_assert(rdm_lock_is_mine(&book->lock));
	return &book->slabs[rdm_slab_granule(rdm_slab_of(addr)) % BUCKETS];
}

static void move_to(struct rdm_region *region, enum place place)
{
	rdm_assert(rdm_lock_is_mine(&book->lock));
	rdm_assert(place <= ENDING);
	if (region->place == IDLE) {
		book->idle--;
		book->idle_bytes -= region->length;
	}
	if (place == IDLE) {
		book->idle++;
		book->idle_bytes += region->length;
	}
	TAILQ_REMOVE(&book->places[region->place], region, link);
	TAILQ_INSERT_TAIL(&book->places[place], region, link);
	region->place = place;
}

static void unkeep(struct rdm_region *region)
{
	rdm_assert(rdm_lock_is_mine(&book->lock));
	if (region->keep)
		LIST_REMOVE(region, sibling);
	region->keep = false;
}

/* NULL: all are taken. */
static struct alias *free_alias(void)
{
	rdm_assert(rdm_lock_is_mine(&book->lock));
	for (unsigned i = 0; i < ALIASES_MAX; i++) {
		struct alias *alias = &aliases[book->next_alias++ % ALIASES_MAX];

		if (!alias->region)
			return alias;
	}
	return NULL;
}

static struct ibv_mr *cast(struct rdm_region *region, void *addr, size_t length)
{
	struct alias *alias = free_alias();

	rdm_assert(rdm_lock_is_mine(&book->lock));
	rdm_assert(region->real);
	if (!alias)
		return NULL;
	alias->mr = *region->real;
	alias->mr.addr = addr;
	alias->mr.length = length;
	alias->access = region->access;
	alias->region = region;
	region->aliases++;
	return &alias->mr;
}

static struct rdm_region *find(const struct ibv_pd *pd, const void *addr, size_t length,
			       unsigned access)
{
	struct rdm_region *region;

	LIST_FOREACH (region, bucket_of(addr), sibling) {
		uintptr_t offset = (uintptr_t)addr - region->addr;

		if (region->pd == pd && region->access == access && offset < region->length &&
		    region->length - offset >= length)
			break;
	}
	return region;
}

struct ibv_mr *rdm_reuse_get(struct ibv_pd *pd, void *addr, size_t length, unsigned access)
{
	struct ibv_mr *alias = NULL;
	struct rdm_region *region;

	lock();
	region = find(pd, addr, length, access);
	if (region)
		alias = cast(region, addr, length);
	if (alias && region->place == IDLE)
		move_to(region, LIVE);
	unlock();
	return alias;
}

struct ibv_mr *rdm_reuse_add(struct ibv_mr *real, unsigned access, bool keep)
{
	struct rdm_region *region = rdm_meta_alloc(sizeof(*region));
	struct ibv_mr *alias;

	rdm_assert(real && book);
	if (!region)
		return NULL;
	*region = (struct rdm_region){
		.real = real,
		.context = real->context,
		.pd = real->pd,
		.addr = (uintptr_t)real->addr,
		.length = real->length,
		.access = access,
		.keep = keep,
	};
	lock();
	region->generation = generation;
	alias = cast(region, real->addr, real->length);
	if (alias) {
		TAILQ_INSERT_TAIL(&book->places[LIVE], region, link);
		if (keep)
			LIST_INSERT_HEAD(bucket_of(real->addr), region, sibling);
	}
	unlock();
	if (!alias)
		rdm_meta_free(region);
	return alias;
}

bool rdm_reuse_has(const struct ibv_mr *mr)
{
	return book && (uintptr_t)mr - (uintptr_t)aliases < ALIASES_MAX * sizeof(*aliases);
}

static struct alias *alias_of(const struct ibv_mr *mr)
{
	rdm_assert(rdm_reuse_has(mr));
	return &aliases[((uintptr_t)mr - (uintptr_t)aliases) / sizeof(*aliases)];
}

unsigned rdm_reuse_access(const struct ibv_mr *alias)
{
	return alias_of(alias)->access;
}

void rdm_reuse_swap(struct ibv_mr *a, struct ibv_mr *b)
{
	struct alias kept;

	lock();
	kept = *alias_of(a);
	*alias_of(a) = *alias_of(b);
	*alias_of(b) = kept;
	unlock();
}

int rdm_reuse_put(struct ibv_mr *alias)
{
	struct rdm_region *region;

	lock();
	region = alias_of(alias)->region;
	alias_of(alias)->region = NULL;
	book->next_alias = (unsigned)(alias_of(alias) - aliases);
	/* The parent's region is in use there, and stays. */
	if (region && region->generation == generation && !--region->aliases) {
		if (region->length > idle_bytes_max)
			unkeep(region);
		move_to(region, region->keep ? IDLE : DOOMED);
	}
	unlock();
	return region ? 0 : EINVAL;
}

struct rdm_region *rdm_reuse_evict(bool all)
{
	struct rdm_region *region;

	if (!book)
		return NULL;
	lock();
	region = TAILQ_FIRST(&book->places[DOOMED]);
	if (!region && (all || book->idle > IDLE_MAX || book->idle_bytes > idle_bytes_max))
		region = TAILQ_FIRST(&book->places[IDLE]);
	if (region) {
		unkeep(region);
		move_to(region, ENDING);
	}
	unlock();
	return region;
}

struct ibv_mr *rdm_reuse_real(const struct rdm_region *region)
{
	return region->real;
}

void rdm_reuse_ended(struct rdm_region *region)
{
	rdm_assert(region->place == ENDING);
	lock();
	TAILQ_REMOVE(&book->places[ENDING], region, link);
	rdm_lock_announce(&book->ended);
	unlock();
	rdm_meta_free(region);
}

static bool is_of(const struct rdm_region *region, const struct ibv_context *context,
		  const struct ibv_pd *pd)
{
	return (!context || region->context == context) && (!pd || region->pd == pd);
}

void rdm_reuse_forget(const struct ibv_context *context, const struct ibv_pd *pd)
{
	struct rdm_region *region, *next;

	if (!book)
		return;
	lock();
	TAILQ_FOREACH (region, &book->places[LIVE], link)
		if (is_of(region, context, pd))
			unkeep(region);
	for (region = TAILQ_FIRST(&book->places[IDLE]); region; region = next) {
		next = TAILQ_NEXT(region, link);
		if (!is_of(region, context, pd))
			continue;
		unkeep(region);
		move_to(region, DOOMED);
	}
	unlock();
}

static bool is_ending(const struct ibv_context *context, const struct ibv_pd *pd)
{
	const struct rdm_region *region;

	rdm_assert(rdm_lock_is_mine(&book->lock));
	TAILQ_FOREACH (region, &book->places[ENDING], link)
		if (is_of(region, context, pd))
			return true;
	return false;
}

void rdm_reuse_wait(const struct ibv_context *context, const struct ibv_pd *pd)
{
	if (!book)
		return;
	lock();
	while (is_ending(context, pd))
		rdm_lock_wait(&book->lock, &book->ended);
	unlock();
}
