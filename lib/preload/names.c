/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The malloc family's other names: glibc's reserved ones, C23's, tcmalloc's and jemalloc's. A
 * program may call any of them with a block of ours, and what they hand out is as likely to be
 * registered as malloc's. entries.list says what becomes of each.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "memory/reserve.h"
#include "preload/family.h"
#include "preload/lookup.h"
#include "preload/preload.h"
#include "rdmalloc.h"

/* Each set of names goes on to the next of that set. */
#define FAMILY(next, malloc_, calloc_, realloc_, free_, memalign_, valloc_, pvalloc_) \
	void *malloc_(size_t size);                                                   \
	RDM_EXPORT void *malloc_(size_t size)                                         \
	{                                                                             \
		return rdm_family_malloc(next(), size);                               \
	}                                                                             \
	void *calloc_(size_t count, size_t size);                                     \
	RDM_EXPORT void *calloc_(size_t count, size_t size)                           \
	{                                                                             \
		return rdm_family_calloc(next(), count, size);                        \
	}                                                                             \
	void *realloc_(void *ptr, size_t size);                                       \
	RDM_EXPORT void *realloc_(void *ptr, size_t size)                             \
	{                                                                             \
		return rdm_family_realloc(next(), ptr, size);                         \
	}                                                                             \
	void free_(void *ptr);                                                        \
	RDM_EXPORT void free_(void *ptr)                                              \
	{                                                                             \
		rdm_family_free(next(), ptr);                                         \
	}                                                                             \
	void *memalign_(size_t alignment, size_t size);                               \
	RDM_EXPORT void *memalign_(size_t alignment, size_t size)                     \
	{                                                                             \
		return rdm_family_memalign(next(), alignment, size);                  \
	}                                                                             \
	void *valloc_(size_t size);                                                   \
	RDM_EXPORT void *valloc_(size_t size)                                         \
	{                                                                             \
		return rdm_family_valloc(next(), size);                               \
	}                                                                             \
	void *pvalloc_(size_t size);                                                  \
	RDM_EXPORT void *pvalloc_(size_t size)                                        \
	{                                                                             \
		return rdm_family_pvalloc(next(), size);                              \
	}

FAMILY(rdm_next_libc, __libc_malloc, __libc_calloc, __libc_realloc, __libc_free, __libc_memalign,
       __libc_valloc, __libc_pvalloc)
FAMILY(rdm_next_tcmalloc, tc_malloc, tc_calloc, tc_realloc, tc_free, tc_memalign, tc_valloc,
       tc_pvalloc)

/*
 * With a size, and an alignment, of which nothing is made. A library may have had a function of
 * that name before C had one, for memory of its own.
 */
#define TAKES(name)                                                               \
	void name(void *ptr, size_t a, size_t b);                                 \
	RDM_EXPORT void name(void *ptr, size_t a, size_t b)                       \
	{                                                                         \
		void *symbol;                                                     \
		__typeof__(name) *function;                                       \
                                                                                  \
		if (!rdm_reserve_has(ptr) && (symbol = rdm_lookup_next(#name))) { \
			memcpy(&function, &symbol, sizeof(function));             \
			function(ptr, a, b);                                      \
		} else {                                                          \
			rdm_family_free(&rdm_next, ptr);                          \
		}                                                                 \
	}

TAKES(cfree)
TAKES(free_sized)
TAKES(free_aligned_sized)
TAKES(tc_cfree)
TAKES(tc_free_sized)

#define ALIGNS(name, next)                                                         \
	int name(void **memptr, size_t alignment, size_t size);                    \
	RDM_EXPORT int name(void **memptr, size_t alignment, size_t size)          \
	{                                                                          \
		return rdm_family_posix_memalign(next(), memptr, alignment, size); \
	}

ALIGNS(__posix_memalign, rdm_next_libc)
ALIGNS(tc_posix_memalign, rdm_next_tcmalloc)

#define ASKS(name, next)                                    \
	size_t name(void *ptr);                             \
	RDM_EXPORT size_t name(void *ptr)                   \
	{                                                   \
		return rdm_family_usable_size(next(), ptr); \
	}

ASKS(tc_malloc_size, rdm_next_tcmalloc)
ASKS(MallocExtension_GetAllocatedSize, rdm_next_tcmalloc)

void *tc_malloc_skip_new_handler(size_t size);
RDM_EXPORT void *tc_malloc_skip_new_handler(size_t size)
{
	return rdm_family_malloc(rdm_next_tcmalloc(), size);
}

/*
 * jemalloc's. With an arena or a cache of its own in the flags a block is for jemalloc; else it
 * is like any other. Where there is no jemalloc they do with the family what they promise.
 */
#define ALIGN_BITS 0x3f
#define ZERO 0x40

static void *next_mallocx(void)
{
	static _Atomic(void *) found;
	static _Atomic bool looked;

	if (!atomic_load_explicit(&looked, memory_order_acquire)) {
		atomic_store(&found, rdm_lookup_next_at_start("mallocx"));
		atomic_store_explicit(&looked, true, memory_order_release);
	}
	return atomic_load_explicit(&found, memory_order_relaxed);
}

/* Calls the next of that name if there is a jemalloc. */
#define NEXT(name, result, ...)                                 \
	if (next_mallocx()) {                                   \
		void *symbol = rdm_lookup_next_at_start(#name); \
		__typeof__(name) *function;                     \
                                                                \
		memcpy(&function, &symbol, sizeof(function));   \
		result function(__VA_ARGS__);                   \
	}

void *mallocx(size_t size, int flags);
void *rallocx(void *ptr, size_t size, int flags);
size_t xallocx(void *ptr, size_t size, size_t extra, int flags);
size_t sallocx(const void *ptr, int flags);
void dallocx(void *ptr, int flags);
void sdallocx(void *ptr, size_t size, int flags);
size_t nallocx(size_t size, int flags);

static size_t alignment_of(int flags)
{
	return (size_t)1 << (flags & ALIGN_BITS);
}

/* From the pool, or NULL. */
static void *allocate(size_t size, int flags)
{
	void *block;

	if (flags & ~(ALIGN_BITS | ZERO) || !rdm_preload_is_large(size))
		return NULL;
	block = flags & ZERO ? rdm_preload_zeroed(alignment_of(flags), size) :
			       rdm_preload_alloc(alignment_of(flags), size);
	return block;
}

RDM_EXPORT void *mallocx(size_t size, int flags)
{
	void *block = allocate(size, flags);

	if (block)
		return block;
	NEXT(mallocx, return, size, flags);
	block = rdm_next.memalign(alignment_of(flags) < 16 ? 16 : alignment_of(flags), size);
	if (block && flags & ZERO)
		memset(block, 0, size);
	return block;
}

static void *move(void *ptr, size_t old, size_t size, int flags)
{
	void *block = mallocx(size, flags);

	if (!block)
		return NULL;
	memcpy(block, ptr, old < size ? old : size);
	rdm_family_free(&rdm_next, ptr);
	return block;
}

RDM_EXPORT void *rallocx(void *ptr, size_t size, int flags)
{
	size_t old = rdm_reserve_has(ptr) ? rdm_usable_size(ptr) : 0;

	if (!old) {
		NEXT(rallocx, return, ptr, size, flags);
		old = rdm_next.malloc_usable_size(ptr);
	}
	/* Zeros from the old end on, and an alignment that realloc() does not keep. */
	if (flags)
		return move(ptr, old, size, flags);
	return rdm_family_realloc(&rdm_next, ptr, size);
}

/* In place, or not at all. */
RDM_EXPORT size_t xallocx(void *ptr, size_t size, size_t extra, int flags)
{
	if (!rdm_reserve_has(ptr))
		NEXT(xallocx, return, ptr, size, extra, flags);
	return rdm_family_usable_size(&rdm_next, ptr);
}

RDM_EXPORT size_t sallocx(const void *ptr, int flags)
{
	if (!rdm_reserve_has(ptr))
		NEXT(sallocx, return, ptr, flags);
	return rdm_family_usable_size(&rdm_next, (void *)(uintptr_t)ptr);
}

RDM_EXPORT void dallocx(void *ptr, int flags)
{
	if (!rdm_reserve_has(ptr))
		NEXT(dallocx, return, ptr, flags);
	rdm_family_free(&rdm_next, ptr);
}

RDM_EXPORT void sdallocx(void *ptr, size_t size, int flags)
{
	if (!rdm_reserve_has(ptr))
		NEXT(sdallocx, return, ptr, size, flags);
	rdm_family_free(&rdm_next, ptr);
}

/* What a block of that size would have at least. */
RDM_EXPORT size_t nallocx(size_t size, int flags)
{
	size_t align = alignment_of(flags) < 16 ? 16 : alignment_of(flags);

	if (flags & ~(ALIGN_BITS | ZERO) || !rdm_preload_is_large(size))
		NEXT(nallocx, return, size, flags);
	return size > PTRDIFF_MAX - align ? 0 : (size + align - 1) & ~(align - 1);
}
