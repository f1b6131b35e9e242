/* SPDX-License-Identifier: BSD-2-Clause */
#include "state.h"

#include <string.h>
#include <unistd.h>

#include "sidetable.h"

struct rdm_state rdm_state;

static struct rdm_sidetable unit_table, page_table;

int rdm_state_open(size_t reserve)
{
	unsigned shift = (unsigned)__builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	int error = rdm_sidetable_map(&unit_table, reserve >> RDM_UNIT_SHIFT);

	if (!error)
		error = rdm_sidetable_map(&page_table, reserve >> shift);
	if (error) {
		rdm_state_close();
		return error;
	}
	rdm_state.units = (_Atomic uint8_t *)unit_table.base;
	rdm_state.pages = (_Atomic uint8_t *)page_table.base;
	rdm_state.page_shift = shift;
	return 0;
}

void rdm_state_close(void)
{
	rdm_sidetable_unmap(&unit_table);
	rdm_sidetable_unmap(&page_table);
	rdm_state = (struct rdm_state){ 0 };
}

int rdm_state_cover(const void *end)
{
	size_t distance = rdm_reserve_distance(end);
	int error = rdm_sidetable_cover(&unit_table, distance >> RDM_UNIT_SHIFT);

	if (!error)
		error = rdm_sidetable_cover(&page_table, distance >> rdm_state.page_shift);
	return error;
}

/* Index of the first byte in [from, end) that is not 0, or end. */
static size_t next_unit(size_t from, size_t end)
{
	while (from < end && !atomic_load_explicit(&rdm_state.units[from], memory_order_relaxed)) {
		/* Eight at a time: other threads may write them, so an atomic load. */
		if (from % 8 == 0 && from + 8 <= end &&
		    !__atomic_load_n((uint64_t *)(void *)&rdm_state.units[from], __ATOMIC_RELAXED))
			from += 8;
		else
			from++;
	}
	return from;
}

char *rdm_state_next(char *from, const char *end, unsigned *state)
{
	size_t page = (size_t)1 << rdm_state.page_shift;

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
