/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What programs ask malloc about its memory, and that they want it back: malloc_trim, mallinfo,
 * mallinfo2, malloc_info, malloc_stats. The answer is the next malloc's and the pool's together.
 * mallopt is the next malloc's alone: nothing that it sets is the pool's to follow.
 *
 * The types are not the C library's header's, which has mallinfo2 only since its version 2.33.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/lookup.h"
#include "preload/preload.h"
#include "pool/growth.h"
#include "slab/live.h"
#include "sync/gate.h"
#include "sync/quiesce.h"

/* As malloc(3) has it, in this order. */
struct account {
	size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks,
		keepcost;
};
struct short_account {
	int arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};

int malloc_trim(size_t pad);
struct account mallinfo2(void);
struct short_account mallinfo(void);
int malloc_info(int options, FILE *stream);
void malloc_stats(void);

/* Blocks that malloc would have mapped one by one, and are so counted. */
#define MAPPED_BYTES ((size_t)32 << 20)

/* Sets a function pointer to what is next of that name; false: nothing is. */
static bool find(const char *name, void *function)
{
	void *symbol = rdm_lookup_next(name);

	memcpy(function, &symbol, sizeof(symbol));
	return symbol;
}

RDM_EXPORT int malloc_trim(size_t pad)
{
	rdm_pool *pool = rdm_preload_pool();
	int (*next)(size_t) = NULL;
	int saved = errno;
	bool trimmed = false;

	if (pool && !rdm_quiesce_is_inside())
		trimmed = rdm_pool_return(pool);
	errno = saved;
	if (find("malloc_trim", &next))
		trimmed |= next(pad) != 0;
	return trimmed;
}

static struct account account_of(rdm_pool *pool)
{
	size_t in_memory, live, mapped_bytes, mapped;

	/* Nobody waits for a fork: while one runs the pool's part is not known. */
	if (!rdm_gate_enter())
		return (struct account){ 0 };
	in_memory = rdm_slabs_in_memory(&pool->slabs);
	rdm_live_total(&pool->slabs, &live);
	mapped = rdm_live_larger(&pool->slabs, MAPPED_BYTES, &mapped_bytes);
	rdm_gate_leave();
	/* Other threads may have gone on in between. */
	if (live < mapped_bytes)
		live = mapped_bytes;
	if (in_memory < live)
		in_memory = live;
	return (struct account){
		.arena = in_memory - mapped_bytes,
		.hblks = mapped,
		.hblkhd = mapped_bytes,
		.uordblks = live - mapped_bytes,
		.fordblks = in_memory - live,
		.keepcost = in_memory - live,
	};
}

static struct account own_account(void)
{
	rdm_pool *pool = rdm_preload_pool();

	return pool ? account_of(pool) : (struct account){ 0 };
}

RDM_EXPORT struct account mallinfo2(void)
{
	struct account (*next)(void) = NULL;
	struct account own = own_account(), all = { 0 };

	if (find("mallinfo2", &next))
		all = next();
	all.arena += own.arena;
	all.hblks += own.hblks;
	all.hblkhd += own.hblkhd;
	all.uordblks += own.uordblks;
	all.fordblks += own.fordblks;
	all.keepcost += own.keepcost;
	return all;
}

/* What does not fit wraps around, as mallinfo(3) says. */
static void add(int *sum, size_t more)
{
	*sum = (int)((unsigned)*sum + (unsigned)more);
}

RDM_EXPORT struct short_account mallinfo(void)
{
	struct short_account (*next)(void) = NULL;
	struct account own = own_account();
	struct short_account all = { 0 };

	if (find("mallinfo", &next))
		all = next();
	add(&all.arena, own.arena);
	add(&all.hblks, own.hblks);
	add(&all.hblkhd, own.hblkhd);
	add(&all.uordblks, own.uordblks);
	add(&all.fordblks, own.fordblks);
	add(&all.keepcost, own.keepcost);
	return all;
}

static int print_own(FILE *stream)
{
	struct account own = own_account();

	return fprintf(stream,
		       "<rdmalloc>\n"
		       "<total type=\"used\" size=\"%zu\"/>\n"
		       "<total type=\"rest\" size=\"%zu\"/>\n"
		       "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
		       "<system type=\"current\" size=\"%zu\"/>\n"
		       "</rdmalloc>\n",
		       own.uordblks, own.fordblks, own.hblks, own.hblkhd, own.arena + own.hblkhd);
}

/* Before the end of what the next malloc says, which is one element. */
static int print_both(const char *text, FILE *stream)
{
	static const char end[] = "</malloc>";
	const char *at = text, *found = NULL;

	for (; (at = strstr(at, end)); at++)
		found = at;
	if (!found)
		return fputs(text, stream) < 0 || print_own(stream) < 0 ? -1 : 0;
	if (fwrite(text, 1, (size_t)(found - text), stream) != (size_t)(found - text) ||
	    print_own(stream) < 0 || fputs(found, stream) < 0)
		return -1;
	return 0;
}

RDM_EXPORT int malloc_info(int options, FILE *stream)
{
	int (*next)(int, FILE *) = NULL;
	char *text = NULL;
	size_t length;
	FILE *memory;
	int result;

	if (!find("malloc_info", &next)) {
		errno = ENOSYS;
		return -1;
	}
	if (!rdm_preload_pool())
		return next(options, stream);
	memory = open_memstream(&text, &length);
	if (!memory)
		return -1;
	result = next(options, memory);
	if (fclose(memory))
		result = -1;
	/* As glibc's, which does not look whether the stream takes it. */
	if (!result)
		print_both(text, stream);
	free(text);
	return result;
}

RDM_EXPORT void malloc_stats(void)
{
	void (*next)(void) = NULL;
	struct account own = own_account();

	if (find("malloc_stats", &next))
		next();
	if (rdm_preload_pool())
		fprintf(stderr, "rdmalloc:\nsystem bytes     = %10zu\nin use bytes     = %10zu\n",
			own.arena + own.hblkhd, own.uordblks + own.hblkhd);
}
