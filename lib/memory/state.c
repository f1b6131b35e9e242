/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/state.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/size_class.h"
#include "memory/reserve.h"
#include "memory/sidetable.h"
#include "sync/quiesce.h"

/*
 * Where the table starts in a page. A CPU that compares the lower twelve bits only
 * takes a write to the first bytes of a block for one to a byte that lies like it.
 */
#define SKEW 0xa80

struct rdm_state rdm_state;

static struct rdm_sidetable table;

int rdm_state_open(size_t reserve)
{
	int error = rdm_sidetable_claim(&table, SKEW + (reserve >> RDM_UNIT_SHIFT));

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(reserve && rdm_reserve.base);
	if (error) {
		rdm_state_close();
		return error;
	}
	rdm_state.table = (uintptr_t)table.base + SKEW - (rdm_reserve.base >> RDM_UNIT_SHIFT);
	return 0;
}

/* Pins have pages where there are no tables yet. */
__attribute__((constructor(101))) static void know_the_page(void)
{
	rdm_state.page_shift = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
}

void rdm_state_close(void)
{
	rdm_sidetable_unmap(&table);
	rdm_state.table = 0;
}

int rdm_state_cover(const void *end)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rdm_state.table);
	return rdm_sidetable_cover(&table, SKEW + (rdm_reserve_distance(end) >> RDM_UNIT_SHIFT));
}

/* Bytes of the table that are looked at together. */
#define LINE 64

static bool is_clear(const _Atomic uint8_t *line)
{
	const uint64_t *words = (const uint64_t *)(const void *)line;
	uint64_t all = 0;

	rdm_assert(line);
	/* Other threads may write them, so atomic loads. */
	for (size_t i = 0; i < LINE / sizeof(*words); i++)
		all |= __atomic_load_n(&words[i], __ATOMIC_RELAXED);
	return !all;
}

char *rdm_state_next(char *from, const char *end, unsigned *state)
{
	rdm_assert(!((uintptr_t)from & (RDM_UNIT - 1)));
	rdm_assert(state);
	while (from < end) {
		const _Atomic uint8_t *byte = rdm_state_byte(from);

		if (!((uintptr_t)byte & (LINE - 1)) && (size_t)(end - from) >= LINE * RDM_UNIT &&
		    is_clear(byte)) {
			from += LINE * RDM_UNIT;
			continue;
		}
		*state = atomic_load_explicit(byte, memory_order_relaxed);
		if (*state)
			return from;
		from += RDM_UNIT;
	}
	return NULL;
}
