/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The malloc family. What is as large as the threshold comes from a pool of plain
 * memory, where no two blocks share a page; the rest from the next malloc, and so
 * does what the pool cannot serve.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "base/size_class.h"
#include "memory/reserve.h"
#include "plain/discard.h"
#include "plain/pins.h"
#include "plain/plain.h"
#include "plain/stacks.h"
#include "preload/next.h"
#include "preload/preload.h"
#include "preload/report.h"
#include "rdmalloc.h"
#include "sync/interrupted.h"
#include "sync/quiesce.h"

#define UNLIKELY(condition) __builtin_expect(condition, 0)

/* Nothing is as large before the constructor, or where there is no pool. */
static _Atomic size_t threshold = SIZE_MAX;
static _Atomic(rdm_pool *) opened;

/* What contains an address, or NULL. */
static const void *object_of(const void *addr)
{
	Dl_info info;

	return dladdr(addr, &info) ? info.dli_fbase : NULL;
}

/*
 * Whether a library with a malloc stands before this one. A program that takes malloc's
 * address may be where it is found, too.
 */
static bool is_behind(void)
{
	const void *found = object_of(dlsym(RTLD_DEFAULT, "malloc"));

	return found && found != object_of(&opened) &&
	       found != object_of((const void *)getauxval(AT_ENTRY));
}

/* After the constructors that make fork handlers, before all ordinary ones. */
__attribute__((constructor(102))) static void start(void)
{
	const struct rdm_conf *conf = rdm_conf();

	if (!conf->enabled)
		return;
	if (is_behind())
		rdm_log(RDM_LOG_WARN,
			"another malloc stands before rdmalloc in LD_PRELOAD: only what that one "
			"leaves comes here, so put librdmalloc-preload.so first");
	rdm_report_open();
	atomic_store(&threshold, conf->threshold);
}

/* When it is needed first: many programs have no large blocks, and end at once. */
__attribute__((noinline)) static rdm_pool *open_pool(void)
{
	const struct rdm_conf *conf = rdm_conf();
	rdm_pool *pool = NULL;

	if (conf->enabled)
		pool = rdm_plain_pool("preload", (enum rdm_fork_policy)conf->preload_fork);
	if (pool)
		atomic_store_explicit(&opened, pool, memory_order_release);
	else
		atomic_store(&threshold, SIZE_MAX);
	return pool;
}

static rdm_pool *get_pool(void)
{
	rdm_pool *pool = atomic_load_explicit(&opened, memory_order_acquire);

	return pool ? pool : open_pool();
}

bool rdm_preload_open(void)
{
	return get_pool() != NULL;
}

void rdm_preload_stand_back(bool back)
{
	const struct rdm_conf *conf = rdm_conf();

	if (conf->enabled && !atomic_load(&opened))
		atomic_store(&threshold, back ? SIZE_MAX : conf->threshold);
}

static bool is_large(size_t size)
{
	return size >= atomic_load_explicit(&threshold, memory_order_relaxed);
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

static void *allocate(rdm_pool *pool, size_t alignment, size_t size)
{
	return alignment <= RDM_UNIT ? rdm_malloc(pool, size) :
				       rdm_aligned_alloc(pool, alignment, size);
}

void *rdm_preload_alloc(size_t alignment, size_t size)
{
	int saved = errno;
	rdm_pool *pool;
	void *block;

	/* libc's own, while the pool or a slab is made. */
	if (size > RDM_SIZE_MAX / 2 || alignment > RDM_SIZE_MAX / 2 || rdm_quiesce_is_inside())
		return NULL;
	rdm_assert(alignment && !(alignment & (alignment - 1)));
	rdm_call_begins();
	pool = get_pool();
	block = pool && !is_closed(pool) ? allocate(pool, alignment, size) : NULL;
	rdm_call_ends();
	if (UNLIKELY(rdm_report_is_wanted))
		count(block, size);
	if (!block)
		errno = saved;
	return block;
}

__attribute__((noinline)) static void *malloc_large(size_t size)
{
	void *block = rdm_preload_alloc(1, size);

	return block ? block : rdm_next.malloc(size);
}

RDM_EXPORT void *malloc(size_t size)
{
	return UNLIKELY(is_large(size)) ? malloc_large(size) : rdm_next.malloc(size);
}

__attribute__((noinline)) static void free_ours(void *ptr)
{
	rdm_assert(is_ours(ptr));
	if (UNLIKELY(rdm_report_is_wanted))
		rdm_report_freed(rdm_usable_size(ptr));
	if (UNLIKELY(rdm_stacks_any()))
		rdm_pins_forget_stacks(ptr, rdm_usable_size(ptr));
	rdm_call_begins();
	rdm_free(ptr);
	rdm_call_ends();
}

RDM_EXPORT void free(void *ptr)
{
	if (UNLIKELY(is_ours(ptr)))
		free_ours(ptr);
	else
		rdm_next.free(ptr);
}

static void *zeroed(void *block, size_t size)
{
	rdm_assert(block);
	rdm_discard_zero(block, size, rdm_usable_size(block));
	return block;
}

RDM_EXPORT void *calloc(size_t nmemb, size_t size)
{
	size_t bytes;
	void *block;

	if (__builtin_mul_overflow(nmemb, size, &bytes) || !is_large(bytes))
		return rdm_next.calloc(nmemb, size);
	block = rdm_preload_alloc(1, bytes);
	return block ? zeroed(block, bytes) : rdm_next.calloc(nmemb, size);
}

static void *aligned(size_t alignment, size_t size)
{
	void *block = is_large(size) ? rdm_preload_alloc(alignment, size) : NULL;

	return block ? block : rdm_next.memalign(alignment, size);
}

/* From one malloc to the other. */
static void *move(void *ptr, size_t old, size_t size)
{
	void *block = malloc(size);

	rdm_assert(ptr);
	if (!block)
		return NULL;
	memcpy(block, ptr, old < size ? old : size);
	free(ptr);
	return block;
}

static void *realloc_ours(void *ptr, size_t size)
{
	rdm_pool *pool = atomic_load_explicit(&opened, memory_order_acquire);
	int saved = errno;
	void *block;
	size_t old;

	rdm_assert(ptr && size && pool);
	if (!is_large(size) || size > RDM_SIZE_MAX / 2 || rdm_quiesce_is_inside() ||
	    is_closed(pool))
		return move(ptr, rdm_usable_size(ptr), size);
	old = rdm_usable_size(ptr);
	rdm_call_begins();
	block = rdm_realloc(pool, ptr, size);
	rdm_call_ends();
	if (block) {
		if (UNLIKELY(rdm_report_is_wanted)) {
			rdm_report_freed(old);
			rdm_report_served(rdm_usable_size(block));
		}
		return block;
	}
	errno = saved;
	return move(ptr, rdm_usable_size(ptr), size);
}

RDM_EXPORT void *realloc(void *ptr, size_t size)
{
	if (!ptr)
		return malloc(size);
	if (is_ours(ptr)) {
		if (size)
			return realloc_ours(ptr, size);
		free_ours(ptr);
		return NULL;
	}
	if (!is_large(size) && !rdm_next_is_early(ptr))
		return rdm_next.realloc(ptr, size);
	return move(ptr, rdm_next_usable_size(ptr), size);
}

RDM_EXPORT void *reallocarray(void *ptr, size_t nmemb, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(nmemb, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(ptr, bytes);
}

RDM_EXPORT size_t malloc_usable_size(void *ptr)
{
	if (!ptr)
		return 0;
	return is_ours(ptr) ? rdm_usable_size(ptr) : rdm_next_usable_size(ptr);
}

static bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

RDM_EXPORT int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	int saved = errno;
	void *block;

	if (alignment % sizeof(void *) || !is_power_of_two(alignment))
		return EINVAL;
	block = aligned(alignment, size);
	errno = saved;
	if (!block)
		return ENOMEM;
	*memptr = block;
	return 0;
}

RDM_EXPORT void *memalign(size_t alignment, size_t size)
{
	/* As glibc's: to the next power of two. */
	while (!is_power_of_two(alignment) && alignment <= SIZE_MAX / 2)
		alignment = alignment ? (alignment | (alignment - 1)) + 1 : 1;
	return aligned(alignment, size);
}

RDM_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

RDM_EXPORT void *valloc(size_t size)
{
	return aligned((size_t)sysconf(_SC_PAGESIZE), size);
}

RDM_EXPORT void *pvalloc(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (size > SIZE_MAX - page) {
		errno = ENOMEM;
		return NULL;
	}
	return aligned(page, (size + page - 1) & ~(page - 1));
}
