/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/foreign_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"
#include "base/page.h"
#include "rdmalloc.h"
#include "sync/quiesce.h"

/* What was seen of the mappings of a range, from its start to `end`. */
struct sight {
	uintptr_t start, end;
	uintptr_t stack; /* an address of the calling thread's */
	bool private, shared, read_only, on_stack;
};

/* One line of maps; false: the range is not mapped up to there. */
static bool see(struct sight *sight, uintptr_t first, uintptr_t last, const char *mode,
		const char *name, uintptr_t end)
{
	if (last <= sight->end || first >= end)
		return true;
	if (first > sight->end)
		return false;
	sight->end = last;
	sight->shared |= mode[3] == 's';
	sight->private |= mode[3] == 'p';
	sight->read_only |= mode[3] == 'p' && mode[1] != 'w';
	sight->on_stack |= (sight->stack >= first && sight->stack < last) || strstr(name, "[stack");
	return true;
}

static int read_maps(struct sight *sight, uintptr_t end)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	size_t capacity = 0;
	char *line = NULL;
	bool whole = true;
	int error;

	if (!maps)
		return EACCES;
	while (whole && sight->end < end && getline(&line, &capacity, maps) > 0) {
		uintptr_t first, last;
		char mode[5];
		int name = 0;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %n", &first, &last,
			   mode, &name) == 3)
			whole = see(sight, first, last, mode, line + name, end);
	}
	error = ferror(maps) ? EACCES : 0;
	free(line);
	fclose(maps);
	return error ? error : sight->end < end ? EFAULT : 0;
}

static unsigned judge(const struct sight *sight, bool whole_pages)
{
	/* Copy-on-write never comes to it. */
	if (!sight->private)
		return 0;
	return (sight->shared ? RDM_UNSAFE_MIXED : 0) |
	       (sight->read_only ? RDM_UNSAFE_READ_ONLY : 0) |
	       (sight->on_stack ? RDM_UNSAFE_STACK : 0) | (whole_pages ? 0 : RDM_UNSAFE_PAGES);
}

int rdm_foreign_memory_look(const char *caller, void *base, size_t length,
			    struct rdm_foreign_memory *memory)
{
	uintptr_t start = (uintptr_t)base, page = rdm_page_size();
	char *first = rdm_page_start((char *)base + page - 1);
	char *last = rdm_page_start((char *)base + length);
	struct sight sight = { .start = start, .end = start, .stack = (uintptr_t)&start };
	int error = read_maps(&sight, start + length);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(length && start + length > start);
	if (error == EFAULT)
		rdm_log(RDM_LOG_ERROR,
			"%s: the %zu bytes at %p are not all mapped: nothing is at %p", caller,
			length, base, (void *)sight.end);
	else if (error)
		rdm_log(RDM_LOG_ERROR,
			"%s: /proc/self/maps cannot be read, which says what kind of memory "
			"is at %p",
			caller, base);
	if (error)
		return error;
	*memory = (struct rdm_foreign_memory){
		.unsafe = judge(&sight, !((start | (start + length)) & (page - 1))),
		.kept = first,
	};
	/* What other data shares, and a stack, the child has to have. */
	if (sight.private && !(memory->unsafe & ~(unsigned)RDM_UNSAFE_PAGES) && last > first)
		memory->kept_length = (size_t)(last - first);
	return 0;
}

const char *rdm_foreign_memory_why(unsigned unsafe)
{
	if (unsafe & RDM_UNSAFE_STACK)
		return "it is a stack, which a child needs";
	if (unsafe & RDM_UNSAFE_READ_ONLY)
		return "it is private and may not be written to, so its pages cannot be made this "
		       "process's own";
	if (unsafe & RDM_UNSAFE_MIXED)
		return "a part is shared memory and a part is not: register each by itself";
	if (unsafe & RDM_UNSAFE_PAGES)
		return "it is not whole pages, and a child would lose what shares its first and last "
		       "page: align address and length";
	return "";
}
