/* SPDX-License-Identifier: BSD-2-Clause */
#include "preload/next.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"
#include "preload/lookup.h"

/* In the order of the structure. */
#define FUNCTIONS (sizeof(struct rdm_next) / sizeof(void (*)(void)))
static const char *const names[FUNCTIONS] = { "malloc", "calloc",   "realloc",
					      "free",   "memalign", "malloc_usable_size" };

/* Several threads may find the same at the same time. */
static void set(struct rdm_next *next, size_t i, void *symbol)
{
	rdm_assert(i < FUNCTIONS);
	__atomic_store_n((void **)(void *)next + i, symbol, __ATOMIC_RELEASE);
}

static void find_all(void)
{
	for (size_t i = 0; i < FUNCTIONS; i++) {
		void *symbol = rdm_lookup_next_at_start(names[i]);

		if (!symbol)
			rdm_die("there is no next %s(): is this program linked statically?",
				names[i]);
		set(&rdm_next, i, symbol);
	}
}

static void *first_malloc(size_t size)
{
	find_all();
	return rdm_next.malloc(size);
}

static void *first_calloc(size_t count, size_t size)
{
	find_all();
	return rdm_next.calloc(count, size);
}

static void *first_realloc(void *ptr, size_t size)
{
	find_all();
	return rdm_next.realloc(ptr, size);
}

static void first_free(void *ptr)
{
	find_all();
	rdm_next.free(ptr);
}

static void *first_memalign(size_t alignment, size_t size)
{
	find_all();
	return rdm_next.memalign(alignment, size);
}

static size_t first_usable_size(void *ptr)
{
	find_all();
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

/* A set of other names; known: 1 it is there, -1 it is not, 0 nobody has looked. */
struct other {
	const char *names[FUNCTIONS];
	struct rdm_next next;
	_Atomic int known;
};

static const struct rdm_next *find_other(struct other *other)
{
	void *symbols[FUNCTIONS];
	bool all = true;

	for (size_t i = 0; i < FUNCTIONS && all; i++)
		all = (symbols[i] = rdm_lookup_next_at_start(other->names[i])) != NULL;
	for (size_t i = 0; i < FUNCTIONS && all; i++)
		set(&other->next, i, symbols[i]);
	atomic_store_explicit(&other->known, all ? 1 : -1, memory_order_release);
	return all ? &other->next : &rdm_next;
}

static const struct rdm_next *next_of(struct other *other)
{
	int known = atomic_load_explicit(&other->known, memory_order_acquire);

	if (!known)
		return find_other(other);
	return known > 0 ? &other->next : &rdm_next;
}

const struct rdm_next *rdm_next_libc(void)
{
	static struct other libc = { .names = { "__libc_malloc", "__libc_calloc", "__libc_realloc",
						"__libc_free", "__libc_memalign",
						"malloc_usable_size" } };

	return next_of(&libc);
}

const struct rdm_next *rdm_next_tcmalloc(void)
{
	static struct other tcmalloc = { .names = { "tc_malloc", "tc_calloc", "tc_realloc",
						    "tc_free", "tc_memalign", "tc_malloc_size" } };

	return next_of(&tcmalloc);
}
