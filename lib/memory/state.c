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
 * Where the tables start in a page. A CPU that compares the lower twelve bits only
 * takes a write to the first bytes of a block for one to a byte that lies like it.
 */
#define SKEW 0xa80

struct rdm_state rdm_state;

static struct rdm_sidetable fine_table, coarse_table;

int rdm_state_open(size_t reserve)
{
	int error = rdm_sidetable_claim(&fine_table, SKEW + (reserve >> RDM_UNIT_SHIFT));

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(reserve && rdm_reserve.base);
	if (!error)
		error = rdm_sidetable_claim(&coarse_table,
					    SKEW + (reserve >> RDM_STATE_COARSE_SHIFT));
	if (error) {
		rdm_state_close();
		return error;
	}
	rdm_state.fine = (uintptr_t)fine_table.base + SKEW - (rdm_reserve.base >> RDM_UNIT_SHIFT);
	rdm_state.coarse =
		(uintptr_t)coarse_table.base + SKEW - (rdm_reserve.base >> RDM_STATE_COARSE_SHIFT);
	return 0;
}

/* Pins have pages where there are no tables yet. */
__attribute__((constructor(101))) static void know_the_page(void)
{
	rdm_state.page_shift = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
}

void rdm_state_close(void)
{
	rdm_sidetable_unmap(&fine_table);
	rdm_sidetable_unmap(&coarse_table);
	rdm_state.fine = rdm_state.coarse = 0;
}

int rdm_state_cover(const void *end)
{
	size_t distance = rdm_reserve_distance(end);
	int error = rdm_sidetable_cover(&fine_table, SKEW + (distance >> RDM_UNIT_SHIFT));

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(rdm_state.fine && rdm_state.coarse);
	if (!error)
		error = rdm_sidetable_cover(&coarse_table,
					    SKEW + (distance >> RDM_STATE_COARSE_SHIFT));
	return error;
}

/* Bytes of the fine table that are looked at together: those of 4 KiB. */
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

/* The first address in [from, end), multiples of 64, whose fine byte is not 0, or end. */
static char *next_unit(char *from, char *end)
{
	rdm_assert(!((uintptr_t)from & (RDM_UNIT - 1)) && !((uintptr_t)end & (RDM_UNIT - 1)));
	while (from < end) {
		const _Atomic uint8_t *byte = rdm_state_fine((uintptr_t)from);

		if ((size_t)(end - from) >= LINE * RDM_UNIT && is_clear(byte))
			from += LINE * RDM_UNIT;
		else if (atomic_load_explicit(byte, memory_order_relaxed))
			break;
		else
			from += RDM_UNIT;
	}
	return from;
}

char *rdm_state_next(char *from, const char *end, unsigned *state)
{
	rdm_assert(!((uintptr_t)from & (RDM_UNIT - 1)));
	rdm_assert(state);
	while (from < end) {
		char *page_end = (char *)((uintptr_t)from | (RDM_STATE_COARSE - 1)) + 1;

		*state = rdm_state_peek(from);
		if (*state)
			return from;
		from = next_unit(from, page_end);
		if (from < page_end && from < end) {
			*state = rdm_state_peek(from);
			if (*state)
				return from;
			from += RDM_UNIT;
		}
	}
	return NULL;
}
