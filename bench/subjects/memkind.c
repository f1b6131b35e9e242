/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memkind's fixed kind: a malloc family over memory that the caller made, here an
 * arena that would be registered as a whole. Nothing pins it: that is no part of
 * the cost of a block.
 */
#include "config.h"

#include <errno.h>
#include <memkind.h>
#include <string.h>
#include <sys/mman.h>

#include "worker.h"

#define SUBJECT_NAME "memkind"
#define SUBJECT_VERSION version()
#define SUBJECT_ALLOC 1
#define SUBJECT_CASE 1
/* Room for 1,024 blocks of 1 MiB; the kernel gives what is touched. */
#define ARENA ((size_t)4 << 30)

static void *arena;
static memkind_t kind;

static const char *version(void)
{
	int number = memkind_get_version();

	return bench_why("%d.%d.%d", number / 1000000, number / 1000 % 1000, number % 1000);
}

static const char *subject_open(void)
{
	return NULL;
}

static void subject_case_end(const struct bench_case *c)
{
	(void)c;
	if (kind)
		memkind_destroy_kind(kind);
	munmap(arena, ARENA);
}

static const char *subject_case(const struct bench_case *c)
{
	char message[128];
	int error;

	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (arena == MAP_FAILED)
		return bench_why("no %zu bytes of addresses: %s", ARENA, strerror(errno));
	madvise(arena, ARENA, MADV_HUGEPAGE);
	kind = NULL;
	error = memkind_create_fixed(arena, ARENA, &kind);
	if (!error)
		return NULL;
	subject_case_end(c);
	memkind_error_message(error, message, sizeof(message));
	return bench_why("memkind_create_fixed: %s", message);
}

static inline void *subject_alloc(size_t size)
{
	return memkind_malloc(kind, size);
}

static inline void subject_free(void *ptr, size_t size)
{
	(void)size;
	memkind_free(kind, ptr);
}

#include "loops.h"
