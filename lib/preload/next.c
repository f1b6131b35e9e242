/* SPDX-License-Identifier: BSD-2-Clause */
#include "preload/next.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"

#define EARLY_BYTES ((size_t)64 << 10)
#define EARLY_ALIGN ((size_t)16)

/* Before each block its size, so that realloc can copy it. */
static _Alignas(EARLY_ALIGN) char early[EARLY_BYTES];
static _Atomic size_t early_used;

/* Of this thread: dlsym() is under way. */
static __thread bool looking __attribute__((tls_model("initial-exec")));

static void (*real_free)(void *ptr);
static void checking_free(void *ptr);

bool rdm_next_is_early(const void *ptr)
{
	return (uintptr_t)ptr - (uintptr_t)early < EARLY_BYTES;
}

static void *early_alloc(size_t alignment, size_t size)
{
	size_t align = alignment > EARLY_ALIGN ? alignment : EARLY_ALIGN;
	size_t bytes = size + 2 * align;
	size_t at;
	uintptr_t block;

	rdm_assert(looking);
	if (size > EARLY_BYTES || align > EARLY_BYTES)
		bytes = EARLY_BYTES;
	at = atomic_fetch_add(&early_used, (bytes + EARLY_ALIGN - 1) & ~(EARLY_ALIGN - 1));
	if (at > EARLY_BYTES || bytes > EARLY_BYTES - at)
		rdm_die("the next malloc cannot be found: dlsym() needs more memory than there is for it");
	if (real_free)
		rdm_next.free = checking_free;
	block = ((uintptr_t)early + at + EARLY_ALIGN + align - 1) & ~(align - 1);
	((size_t *)block)[-1] = size;
	return (void *)block;
}

static size_t early_size(const void *ptr)
{
	return ((const size_t *)ptr)[-1];
}

static void *find(const char *name)
{
	void *symbol;

	rdm_assert(name);
	looking = true;
	symbol = dlsym(RTLD_NEXT, name);
	looking = false;
	if (!symbol)
		rdm_die("there is no next %s(): %s", name, "is this program linked statically?");
	return symbol;
}

/* Makes a function pointer of what dlsym() says, as POSIX has it. */
#define FIND(name)                                               \
	do {                                                     \
		void *symbol = find(#name);                      \
                                                                 \
		memcpy(&rdm_next.name, &symbol, sizeof(symbol)); \
	} while (0)

static void *first_malloc(size_t size)
{
	if (looking)
		return early_alloc(EARLY_ALIGN, size);
	FIND(malloc);
	return rdm_next.malloc(size);
}

static void *first_calloc(size_t count, size_t size)
{
	size_t bytes;

	if (looking)
		return __builtin_mul_overflow(count, size, &bytes) ?
			       NULL :
			       early_alloc(EARLY_ALIGN, bytes);
	FIND(calloc);
	return rdm_next.calloc(count, size);
}

static void *first_realloc(void *ptr, size_t size)
{
	if (looking) {
		void *block = early_alloc(EARLY_ALIGN, size);

		if (ptr)
			memcpy(block, ptr, early_size(ptr) < size ? early_size(ptr) : size);
		return block;
	}
	FIND(realloc);
	return rdm_next.realloc(ptr, size);
}

/* Only while there are early blocks: free() is called too often to ask each time. */
static void checking_free(void *ptr)
{
	if (!rdm_next_is_early(ptr))
		real_free(ptr);
}

static void first_free(void *ptr)
{
	if (looking || rdm_next_is_early(ptr))
		return;
	FIND(free);
	real_free = rdm_next.free;
	if (atomic_load(&early_used))
		rdm_next.free = checking_free;
	rdm_next.free(ptr);
}

static void *first_memalign(size_t alignment, size_t size)
{
	if (looking)
		return early_alloc(alignment, size);
	FIND(memalign);
	return rdm_next.memalign(alignment, size);
}

size_t rdm_next_usable_size(void *ptr)
{
	return rdm_next_is_early(ptr) ? early_size(ptr) : rdm_next.malloc_usable_size(ptr);
}

static size_t first_usable_size(void *ptr)
{
	FIND(malloc_usable_size);
	return rdm_next.malloc_usable_size(ptr);
}

struct rdm_next rdm_next = {
	.malloc = first_malloc,
	.calloc = first_calloc,
	.realloc = first_realloc,
	.free = first_free,
	.memalign = first_memalign,
	.malloc_usable_size = first_usable_size,
};
