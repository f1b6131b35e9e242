/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <string.h>
#include <unistd.h>

#include "sidetable.h"

/*
 * Where the tables start in a page. A CPU that compares the lower twelve bits only
 * takes a write to the first bytes of a block for one to a byte that lies like it.
 */
#define SKEW 0xa80

struct rdm_state rdm_state;

static struct rdm_sidetable fine_table, coarse_table;

int rdm_state_open(size_t reserve)
{
	int error = rdm_sidetable_map(&fine_table, SKEW + (reserve >> RDM_UNIT_SHIFT));

	if (!error)
		error = rdm_sidetable_map(&coarse_table,
					  SKEW + (reserve >> RDM_STATE_COARSE_SHIFT));
	if (error) {
		rdm_state_close();
		return error;
	}
	rdm_state.fine = (_Atomic uint8_t *)fine_table.base + SKEW;
	rdm_state.coarse = (_Atomic uint8_t *)coarse_table.base + SKEW;
	rdm_state.page_shift = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	return 0;
}

void rdm_state_close(void)
{
	rdm_sidetable_unmap(&fine_table);
	rdm_sidetable_unmap(&coarse_table);
	rdm_state = (struct rdm_state){ 0 };
}

int rdm_state_cover(const void *end)
{
	size_t distance = rdm_reserve_distance(end);
	int error = rdm_sidetable_cover(&fine_table, SKEW + (distance >> RDM_UNIT_SHIFT));

	if (!error)
		error = rdm_sidetable_cover(&coarse_table,
					    SKEW + (distance >> RDM_STATE_COARSE_SHIFT));
	return error;
}

/* Bytes of the fine table that are looked at together: those of 4 KiB. */
#define LINE 64

static bool is_clear(size_t from)
{
	const uint64_t *words = (const uint64_t *)(void *)&rdm_state.fine[from];
	uint64_t all = 0;

	/* Other threads may write them, so atomic loads. */
	for (size_t i = 0; i < LINE / sizeof(*words); i++)
		all |= __atomic_load_n(&words[i], __ATOMIC_RELAXED);
	return !all;
}

/* Index of the first byte in [from, end) that is not 0, or end. */
static size_t next_unit(size_t from, size_t end)
{
	while (from < end) {
		if (from % LINE == 0 && from + LINE <= end && is_clear(from))
			from += LINE;
		else if (atomic_load_explicit(&rdm_state.fine[from], memory_order_relaxed))
			break;
		else
			from++;
	}
	return from;
}

char *rdm_state_next(char *from, const char *end, unsigned *state)
{
	size_t page = RDM_STATE_COARSE;

	while (from < end) {
		uintptr_t distance = rdm_reserve_distance(from);
		size_t unit = distance >> RDM_UNIT_SHIFT;
		size_t units = (page - (distance & (page - 1))) >> RDM_UNIT_SHIFT;
		size_t hit;

		*state = rdm_state_peek(from);
		if (*state)
			return from;
		hit = next_unit(unit, unit + units);
		from += (hit - unit) << RDM_UNIT_SHIFT;
		if (hit < unit + units && from < end) {
			*state = rdm_state_peek(from);
			if (*state)
				return from;
			from += RDM_UNIT;
		}
	}
	return NULL;
}
