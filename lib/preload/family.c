/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The malloc family. What is as large as the threshold comes from a pool of plain
 * memory, where no two blocks share a page; the rest from the next malloc, and so
 * does what the pool cannot serve.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "base/page.h"
#include "base/size_class.h"
#include "memory/reserve.h"
#include "plain/notes.h"
#include "plain/pages.h"
#include "plain/pins.h"
#include "plain/plain.h"
#include "plain/stacks.h"
#include "preload/family.h"
#include "preload/lookup.h"
#include "preload/next.h"
#include "preload/preload.h"
#include "preload/report.h"
#include "rdmalloc.h"
#include "sync/gate.h"
#include "sync/quiesce.h"

/* The default threshold. */
#define LARGE ((size_t)8 << 10)

#define UNLIKELY(condition) __builtin_expect(condition, 0)

/* In the place of an alignment, which is not 0: any, and all bytes are zero. */
#define ZEROED 0

/* Nothing is as large before the constructor, or where there is no pool. */
static _Atomic size_t threshold = SIZE_MAX;
static _Atomic(rdm_pool *) opened;

/* Blocks from so many bytes up to so many are made longer, to whole pages. */
static size_t page_bytes, isolated_from = SIZE_MAX, isolated_bytes;

/* Two mallocs that cannot do what each of them is there for: said before anything is lost. */
static void say_who_else_is_there(void)
{
	const char *before = rdm_lookup_before("malloc");

	if (before && *before)
		rdm_log(RDM_LOG_WARN,
			"another malloc stands before rdmalloc in LD_PRELOAD: only what that one "
			"leaves comes here, so put librdmalloc-preload.so first");
	else if (before && !rdm_lookup_is_wanted("__libc_malloc"))
		rdm_log(RDM_LOG_WARN,
			"this program has a malloc of its own inside, which rdmalloc cannot take the "
			"place of: link it without, or run it without rdmalloc");
	if (rdm_lookup_next_at_start("tc_malloc") &&
	    rdm_lookup_is_wanted("_ZN15MallocExtension8instanceEv"))
		rdm_log(RDM_LOG_WARN,
			"this program asks tcmalloc (MallocExtension), which does not know rdmalloc's "
			"blocks: GetAllocatedSize() of one ends the process; link it without "
			"tcmalloc, or run it without rdmalloc");
}

/* Where pages are large, few blocks of the default would be worth one of their own. */
static size_t first_threshold(void)
{
	size_t set = rdm_conf()->threshold;

	return set == LARGE && page_bytes / 2 > set ? page_bytes / 2 : set;
}

/* Size classes of four pages and more are whole pages, so that blocks of these share none. */
static void isolate(void)
{
	size_t half;

	page_bytes = rdm_page_size();
	half = page_bytes / 2 > LARGE ? page_bytes / 2 : LARGE;
	isolated_from = half < page_bytes ? half : page_bytes;
	isolated_bytes = 4 * page_bytes - isolated_from;
}

/* After the constructors that make fork handlers, before all ordinary ones. */
__attribute__((constructor(102))) static void start(void)
{
	const struct rdm_conf *conf = rdm_conf();

	if (!conf->enabled)
		return;
	say_who_else_is_there();
	rdm_report_open();
	isolate();
	atomic_store(&threshold, first_threshold());
}

/* When it is needed first: many programs have no large blocks, and end at once. */
__attribute__((noinline)) static rdm_pool *open_pool(void)
{
	const struct rdm_conf *conf = rdm_conf();
	rdm_pool *pool = NULL;

	errno = 0;
	if (conf->enabled)
		pool = rdm_plain_pool("preload", (enum rdm_fork_policy)conf->preload_fork);
	if (pool)
		atomic_store_explicit(&opened, pool, memory_order_release);
	else if (errno != EAGAIN)
		atomic_store(&threshold, SIZE_MAX);
	return pool;
}

static rdm_pool *get_pool(void)
{
	rdm_pool *pool = atomic_load_explicit(&opened, memory_order_acquire);

	return pool ? pool : open_pool();
}

bool rdm_preload_is_enabled(void)
{
	return rdm_conf()->enabled;
}

bool rdm_preload_open(void)
{
	return get_pool() != NULL;
}

/* What is asked of the threshold meanwhile, by several threads. */
static _Atomic unsigned serving_all;
static _Atomic bool standing_back;

static size_t wanted_threshold(void)
{
	if (atomic_load(&serving_all))
		return 0;
	return atomic_load(&standing_back) ? SIZE_MAX : first_threshold();
}

/* Another thread may change what is wanted in between, and be done before this. */
static void renew_threshold(void)
{
	size_t wanted;

	do {
		wanted = wanted_threshold();
		atomic_store(&threshold, wanted);
	} while (wanted != wanted_threshold());
}

void rdm_preload_serve_all(bool on)
{
	rdm_assert(atomic_load(&opened));
	if (on)
		atomic_fetch_add(&serving_all, 1);
	else
		atomic_fetch_sub(&serving_all, 1);
	renew_threshold();
}

void rdm_preload_stand_back(bool back)
{
	if (!rdm_conf()->enabled || atomic_load(&opened))
		return;
	atomic_store(&standing_back, back);
	renew_threshold();
}

static bool is_large(size_t size)
{
	return size >= atomic_load_explicit(&threshold, memory_order_relaxed);
}

bool rdm_preload_is_large(size_t size)
{
	return is_large(size);
}

static bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

/* The program was told at its start. */
static size_t page_size(void)
{
	return getauxval(AT_PAGESZ);
}

static bool is_ours(const void *ptr)
{
	return rdm_reserve_has(ptr);
}

/* The child of a pool that is no heritage has only the next malloc. */
static bool is_closed(const rdm_pool *pool)
{
	return atomic_load_explicit(&pool->heap.inherited, memory_order_relaxed);
}

struct rdm_pool *rdm_preload_pool(void)
{
	rdm_pool *pool = atomic_load_explicit(&opened, memory_order_acquire);

	return pool && !is_closed(pool) ? pool : NULL;
}

static void count(const void *block, size_t size)
{
	if (block)
		rdm_report_served(rdm_usable_size(block));
	else
		rdm_report_refused(size);
}

/* No two blocks of a page and more share one. */
static size_t whole_pages(size_t size)
{
	return size - isolated_from < isolated_bytes ? (size + page_bytes - 1) & -page_bytes : size;
}

static void *allocate(rdm_pool *pool, size_t alignment, size_t size)
{
	if (alignment == ZEROED)
		return rdm_calloc(pool, 1, whole_pages(size));
	size = whole_pages(size);
	return alignment <= RDM_UNIT ? rdm_malloc(pool, size) :
				       rdm_aligned_alloc(pool, alignment, size);
}

void *rdm_preload_alloc(size_t alignment, size_t size)
{
	int saved = errno;
	rdm_pool *pool;
	void *block;

	/* libc's own, while the pool or a slab is made, or a thread's key inside jemalloc. */
	if (size > RDM_SIZE_MAX / 2 || alignment > RDM_SIZE_MAX / 2 || rdm_quiesce_is_inside() ||
	    rdm_gate_is_inside())
		return NULL;
	rdm_assert(!(alignment & (alignment - 1)));
	pool = get_pool();
	block = pool && !is_closed(pool) ? allocate(pool, alignment, size) : NULL;
	if (UNLIKELY(rdm_report_is_wanted))
		count(block, size);
	if (!block)
		errno = saved;
	return block;
}

/*
 * What the C library has for itself its child looks at before our handlers run: streams, the list of
 * handlers, parts of threads. So it must not share a page with what others register.
 */
static bool is_libcs_part(size_t size, const void *caller)
{
	return size < page_bytes && rdm_lookup_is_libcs(caller);
}

__attribute__((noinline)) static void *malloc_large(const struct rdm_next *next, size_t size,
						    const void *caller)
{
	void *block = is_libcs_part(size, caller) ? NULL : rdm_preload_alloc(1, size);

	return block ? block : next->malloc(size);
}

void *rdm_family_malloc(const struct rdm_next *next, size_t size)
{
	return UNLIKELY(is_large(size)) ? malloc_large(next, size, NULL) : next->malloc(size);
}

RDM_EXPORT void *malloc(size_t size)
{
	return UNLIKELY(is_large(size)) ?
		       malloc_large(&rdm_next, size, __builtin_return_address(0)) :
		       rdm_next.malloc(size);
}

/* False: it waits, and one that has waited may be freed in its place. */
__attribute__((noinline)) static bool settle(void *ptr)
{
	int saved = errno;
	void *waited = rdm_notes_waited();
	bool settled = rdm_notes_settle(ptr, rdm_usable_size(ptr));

	if (waited)
		rdm_free(waited);
	errno = saved;
	return settled;
}

__attribute__((noinline)) static void free_ours(void *ptr)
{
	rdm_assert(is_ours(ptr));
	if (UNLIKELY(rdm_report_is_wanted))
		rdm_report_freed(rdm_usable_size(ptr));
	if (UNLIKELY(rdm_stacks_any()))
		rdm_pins_forget_stacks(ptr, rdm_usable_size(ptr));
	if (!UNLIKELY(rdm_notes_any()) || settle(ptr))
		rdm_free(ptr);
}

void rdm_family_free(const struct rdm_next *next, void *ptr)
{
	if (UNLIKELY(is_ours(ptr)))
		free_ours(ptr);
	else
		next->free(ptr);
}

RDM_EXPORT void free(void *ptr)
{
	if (UNLIKELY(is_ours(ptr)))
		free_ours(ptr);
	else
		rdm_next.free(ptr);
}

void *rdm_preload_zeroed(size_t alignment, size_t size)
{
	void *block = rdm_preload_alloc(alignment <= RDM_UNIT ? ZEROED : alignment, size);

	if (block && alignment > RDM_UNIT)
		memset(block, 0, size);
	return block;
}

void *rdm_family_calloc(const struct rdm_next *next, size_t nmemb, size_t size)
{
	size_t bytes;
	void *block;

	if (__builtin_mul_overflow(nmemb, size, &bytes) || !is_large(bytes))
		return next->calloc(nmemb, size);
	block = rdm_preload_zeroed(1, bytes);
	return block ? block : next->calloc(nmemb, size);
}

RDM_EXPORT void *calloc(size_t nmemb, size_t size)
{
	size_t bytes;

	if (!__builtin_mul_overflow(nmemb, size, &bytes) && is_large(bytes) &&
	    is_libcs_part(bytes, __builtin_return_address(0)))
		return rdm_next.calloc(nmemb, size);
	return rdm_family_calloc(&rdm_next, nmemb, size);
}

void *rdm_family_memalign(const struct rdm_next *next, size_t alignment, size_t size)
{
	void *block;

	/* As glibc's: to the next power of two. */
	while (!is_power_of_two(alignment) && alignment <= SIZE_MAX / 2)
		alignment = alignment ? (alignment | (alignment - 1)) + 1 : 1;
	block = is_large(size) ? rdm_preload_alloc(alignment, size) : NULL;
	return block ? block : next->memalign(alignment, size);
}

size_t rdm_family_usable_size(const struct rdm_next *next, void *ptr)
{
	if (!ptr)
		return 0;
	return is_ours(ptr) ? rdm_usable_size(ptr) : next->malloc_usable_size(ptr);
}

/* From one malloc to the other. */
static void *move(const struct rdm_next *next, void *ptr, size_t old, size_t size)
{
	void *block = rdm_family_malloc(next, size);

	rdm_assert(ptr);
	if (!block)
		return NULL;
	/* What was done to its pages ends with the block: not before there is another. */
	if (UNLIKELY(rdm_notes_any()) && is_ours(ptr))
		rdm_notes_open(ptr, old);
	if (old < RDM_MOVED_BYTES || size < RDM_MOVED_BYTES)
		memcpy(block, ptr, old < size ? old : size);
	else
		rdm_pages_copy(block, ptr, old < size ? old : size);
	rdm_family_free(next, ptr);
	return block;
}

/* What was done to its pages goes on while the block is large enough. */
static void *move_noted(const struct rdm_next *next, void *ptr, size_t old, size_t size)
{
	return size <= old && size > old / 2 ? ptr : move(next, ptr, old, size);
}

static void *realloc_ours(const struct rdm_next *next, void *ptr, size_t size)
{
	rdm_pool *pool = atomic_load_explicit(&opened, memory_order_acquire);
	int saved = errno;
	void *block;
	size_t old;

	rdm_assert(ptr && size && pool);
	if (!is_large(size) || size > RDM_SIZE_MAX / 2 || rdm_quiesce_is_inside() ||
	    is_closed(pool))
		return move(next, ptr, rdm_usable_size(ptr), size);
	old = rdm_usable_size(ptr);
	if (UNLIKELY(rdm_notes_any()) && rdm_notes_in(ptr, old))
		return move_noted(next, ptr, old, size);
	block = rdm_realloc(pool, ptr, whole_pages(size));
	if (block) {
		if (UNLIKELY(rdm_report_is_wanted)) {
			rdm_report_freed(old);
			rdm_report_served(rdm_usable_size(block));
		}
		return block;
	}
	errno = saved;
	return move(next, ptr, rdm_usable_size(ptr), size);
}

void *rdm_family_realloc(const struct rdm_next *next, void *ptr, size_t size)
{
	if (!ptr)
		return rdm_family_malloc(next, size);
	if (is_ours(ptr)) {
		if (size)
			return realloc_ours(next, ptr, size);
		free_ours(ptr);
		return NULL;
	}
	if (!is_large(size))
		return next->realloc(ptr, size);
	return move(next, ptr, next->malloc_usable_size(ptr), size);
}

RDM_EXPORT void *realloc(void *ptr, size_t size)
{
	if (UNLIKELY(is_large(size)) && !is_ours(ptr) &&
	    is_libcs_part(size, __builtin_return_address(0)))
		return rdm_next.realloc(ptr, size);
	return rdm_family_realloc(&rdm_next, ptr, size);
}

RDM_EXPORT void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(nmemb, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return rdm_family_realloc(&rdm_next, ptr, bytes);
}

RDM_EXPORT size_t malloc_usable_size(void *ptr)
{
	return rdm_family_usable_size(&rdm_next, ptr);
}

int rdm_family_posix_memalign(const struct rdm_next *next, void **memptr, size_t alignment,
			      size_t size)
{
	int saved = errno;
	void *block;

	if (alignment % sizeof(void *) || !is_power_of_two(alignment))
		return EINVAL;
	block = rdm_family_memalign(next, alignment, size);
	errno = saved;
	if (!block)
		return ENOMEM;
	*memptr = block;
	return 0;
}

RDM_EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	return rdm_family_posix_memalign(&rdm_next, memptr, alignment, size);
}

RDM_EXPORT void *memalign(size_t alignment, size_t size)
{
	return rdm_family_memalign(&rdm_next, alignment, size);
}

RDM_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return rdm_family_memalign(&rdm_next, alignment, size);
}

void *rdm_family_valloc(const struct rdm_next *next, size_t size)
{
	return rdm_family_memalign(next, page_size(), size);
}

RDM_EXPORT void *valloc(size_t size)
{
	return rdm_family_valloc(&rdm_next, size);
}

void *rdm_family_pvalloc(const struct rdm_next *next, size_t size)
{
	size_t page = page_size();

	if (size > SIZE_MAX - page) {
		errno = ENOMEM;
		return NULL;
	}
	return rdm_family_memalign(next, page, (size + page - 1) & ~(page - 1));
}

RDM_EXPORT void *pvalloc(size_t size)
{
	return rdm_family_pvalloc(&rdm_next, size);
}
