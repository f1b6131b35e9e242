/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/sidetable.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/contract.h"
#include "memory/claim.h"
#include "memory/locked.h"
#include "sync/quiesce.h"

/* What is mapped at a time: a mapping costs more than a few pages' addresses. */
#define STEP ((size_t)64 << 10)

static size_t round_up(size_t bytes, size_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

int rdm_sidetable_claim(struct rdm_sidetable *table, size_t bytes)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(table && bytes);
	bytes = round_up(bytes, (size_t)sysconf(_SC_PAGESIZE));
	*table = (struct rdm_sidetable){ .base = rdm_claim_table(bytes), .bytes = bytes };
	return table->base ? 0 : ENOMEM;
}

int rdm_sidetable_cover(struct rdm_sidetable *table, size_t bytes)
{
	char *more = table->base + table->usable;
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(table->base);
	rdm_assert(bytes <= table->bytes);
	if (bytes <= table->usable)
		return 0;
	bytes = round_up(bytes, STEP);
	if (bytes > table->bytes)
		bytes = table->bytes;
	error = rdm_claim_map(more, bytes - table->usable, PROT_NONE, 0);
	if (error)
		return error;
	rdm_locked_on_fault(more, bytes - table->usable);
	if (mprotect(more, bytes - table->usable, PROT_READ | PROT_WRITE)) {
		error = errno;
		munmap(more, bytes - table->usable);
		return error;
	}
	/* Few bytes of many pages are used: with huge pages each would be 2 MiB. EINVAL: there are none. */
	madvise(more, bytes - table->usable, MADV_NOHUGEPAGE);
	table->usable = bytes;
	return 0;
}

void rdm_sidetable_unmap(struct rdm_sidetable *table)
{
	rdm_assert(table);
	if (table->usable)
		munmap(table->base, table->usable);
	*table = (struct rdm_sidetable){ 0 };
}
