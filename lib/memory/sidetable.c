/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/sidetable.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/contract.h"
#include "sync/quiesce.h"

static size_t round_to_page(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) & ~(page - 1);
}

int rdm_sidetable_map_array(struct rdm_sidetable table[], size_t count, size_t bytes)
{
	char *base;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(table && count && bytes);
	bytes = round_to_page(bytes);
	base = mmap(NULL, count * bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0);
	if (base == MAP_FAILED)
		return errno;
	for (size_t i = 0; i < count; i++)
		table[i] = (struct rdm_sidetable){ .base = base + i * bytes, .bytes = bytes };
	return 0;
}

int rdm_sidetable_map(struct rdm_sidetable *table, size_t bytes)
{
	return rdm_sidetable_map_array(table, 1, bytes);
}

int rdm_sidetable_cover(struct rdm_sidetable *table, size_t bytes)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(table->base);
	rdm_assert(bytes <= table->bytes);
	bytes = round_to_page(bytes);
	if (bytes <= table->usable)
		return 0;
	if (mprotect(table->base + table->usable, bytes - table->usable, PROT_READ | PROT_WRITE))
		return errno;
	table->usable = bytes;
	return 0;
}

void rdm_sidetable_unmap(struct rdm_sidetable *table)
{
	rdm_assert(table);
	if (table->base)
		munmap(table->base, table->bytes);
	*table = (struct rdm_sidetable){ 0 };
}
