/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/page_pins.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/page.h"
#include "fork/fork.h"
#include "fork/snapshot.h"
#include "memory/reserve.h"
#include "memory/slab_map.h"
#include "plain/present.h"
#include "sync/lock.h"
#include "sync/signals.h"

/* The pages of a range that are in one plain slab. */
struct part {
	struct rdm_slab *slab;
	size_t first, end;
};

size_t rdm_page_pins_page(const struct rdm_slab *slab, const char *addr)
{
	rdm_assert(addr >= slab->base && addr < slab->base + slab->length);
	return (size_t)(addr - slab->base) >> rdm_state.page_shift;
}

char *rdm_page_pins_address(const struct rdm_slab *slab, size_t page)
{
	rdm_assert(page <= slab->pages);
	return slab->base + (page << rdm_state.page_shift);
}

/* The next address in the reserve, from `at` on; `end` may be far beyond any memory. */
static char *enter_reserve(char *at, const char *end)
{
	char *base = (char *)rdm_reserve.base;

	if (rdm_reserve_has(at))
		return at;
	return at < base && base < end && rdm_reserve_size() ? base : (char *)(uintptr_t)end;
}

/* Goes on at *at; false at the end. */
static bool next_part(char **at, const char *end, struct part *part)
{
	while (*at < end && (*at = enter_reserve(*at, end)) < end) {
		struct rdm_slab *slab = rdm_slab_of(*at);
		const char *last = end - 1;

		if (!slab) {
			*at = (char *)(((uintptr_t)*at & ~(RDM_GRANULE - 1)) + RDM_GRANULE);
			continue;
		}
		if (last >= slab->base + slab->length)
			last = slab->base + slab->length - 1;
		part->slab = slab;
		part->first = rdm_page_pins_page(slab, *at);
		part->end = rdm_page_pins_page(slab, last) + 1;
		*at = slab->base + slab->length;
		return true;
	}
	return false;
}

static int advise(char *addr, size_t length, int advice)
{
	return rdm_kernel_advise(addr, length, advice) ? errno : 0;
}

static bool make_pins(struct rdm_slab *slab)
{
	uint16_t *none = NULL, *pins;

	if (rdm_page_pins_of(slab))
		return true;
	/* Not of our records' memory, which is not to be had while fork() runs. */
	pins = rdm_kernel_map(NULL, slab->pages * sizeof(*pins), PROT_READ | PROT_WRITE, 0);
	if (pins == MAP_FAILED)
		return false;
	if (!atomic_compare_exchange_strong(&slab->pins, &none, pins))
		rdm_kernel_unmap(pins, slab->pages * sizeof(*pins));
	return true;
}

void rdm_page_pins_free(struct rdm_slab *slab)
{
	uint16_t *pins = rdm_page_pins_of(slab);

	if (pins)
		rdm_kernel_unmap(pins, slab->pages * sizeof(*pins));
}

static uint16_t read_pin(const uint16_t *pins, size_t page)
{
	return __atomic_load_n(&pins[page], __ATOMIC_RELAXED);
}

static void write_pin(uint16_t *pins, size_t page, uint16_t count)
{
	__atomic_store_n(&pins[page], count, __ATOMIC_RELAXED);
}

/*
 * While the kernel's marks and the counts differ signals are blocked: a fork of a handler's would
 * go by the counts, take out what has been put in, and copy nothing of what is out already.
 */

/* Pages that lose their last pin. */
static void put_in_again(const struct part *part, size_t first, size_t end)
{
	sigset_t before;
	int error;

	rdm_signals_block(&before);
	error = part->slab->set->ops->outlives_fork ?
			advise(rdm_page_pins_address(part->slab, first),
			       (end - first) << rdm_state.page_shift, MADV_DOFORK) :
			0;
	/*
	 * Afterwards: a process that is made meanwhile goes by the counts where it has holes. And if
	 * children do not inherit them still, they must get copies.
	 */
	for (size_t i = first; i < end; i++)
		write_pin(rdm_page_pins_of(part->slab), i, error ? UINT16_MAX : 0);
	rdm_signals_restore(&before);
}

/* The kernel may have marked some pages of the part before it failed. */
static void undo_hold(const struct part *part)
{
	const uint16_t *pins = rdm_page_pins_of(part->slab);
	size_t end;

	for (size_t i = part->first; i < part->end; i = end) {
		for (end = i + 1; end < part->end && !pins[end] == !pins[i];)
			end++;
		if (!pins[i])
			put_in_again(part, i, end);
	}
}

static int take_out_and_count(const struct part *part, uint16_t *pins)
{
	char *start = rdm_page_pins_address(part->slab, part->first);
	int error = 0;

	if (part->slab->set->ops->outlives_fork && !rdm_ablated(RDM_ABLATE_DONTFORK))
		error = advise(start, (part->end - part->first) << rdm_state.page_shift,
			       MADV_DONTFORK);
	if (error) {
		undo_hold(part);
		return error;
	}
	/* One that has so many stays pinned for ever. */
	for (size_t i = part->first; i < part->end; i++)
		if (pins[i] < UINT16_MAX)
			write_pin(pins, i, pins[i] + 1);
	return 0;
}

static int hold(const struct part *part)
{
	uint16_t *pins = rdm_page_pins_of(part->slab);
	sigset_t before;
	int error;

	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	rdm_assert(part->first < part->end && part->end <= part->slab->pages);
	/* A slab that was not there when room was made is no block's that is registered. */
	if (!pins)
		return ENOMEM;
	rdm_signals_block(&before);
	error = take_out_and_count(part, pins);
	rdm_signals_restore(&before);
	return error;
}

static void let_go(const struct part *part)
{
	uint16_t *pins = rdm_page_pins_of(part->slab);
	size_t end;

	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	rdm_assert(part->first < part->end && part->end <= part->slab->pages);
	if (!pins)
		return;
	for (size_t i = part->first; i < part->end; i = end) {
		end = i + 1;
		if (pins[i] != 1) {
			if (pins[i] && pins[i] < UINT16_MAX)
				write_pin(pins, i, pins[i] - 1);
			continue;
		}
		while (end < part->end && pins[end] == 1)
			end++;
		put_in_again(part, i, end);
	}
}

/* What is present of pages that get their first pin. */
static void copy_unpinned(const struct part *part)
{
	const struct rdm_slab *slab = part->slab;
	const uint16_t *pins = rdm_page_pins_of(slab);
	int pagemap = rdm_present_open();
	size_t length;
	bool present;

	for (size_t page = part->first; page < part->end; page++) {
		char *from = rdm_page_pins_address(slab, page);

		length = rdm_present_run(pagemap, from, from + rdm_page_size(), &present);
		if (present && !pins[page])
			rdm_snapshot_copy((char *)slab->shadow + (from - slab->base), from, length);
	}
	rdm_present_close(pagemap);
}

/*
 * As hold, while processes are made, for which what was pinned then has been copied: they find the
 * copy of what is pinned now, too, in case they are made after it was taken out. Each step is that
 * of a process that is made before the next.
 */
static int hold_late(const struct part *part)
{
	struct rdm_slab *slab = part->slab;
	uint16_t *pins = rdm_page_pins_of(slab);
	int error;

	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	if (!slab->set->ops->outlives_fork)
		return hold(part);
	if (!pins || !rdm_snapshot_make_shadow(slab, 0))
		return ENOMEM;
	copy_unpinned(part);
	atomic_store(&slab->pinned_late, true);
	for (size_t i = part->first; i < part->end; i++)
		if (pins[i] < UINT16_MAX)
			write_pin(pins, i, pins[i] + 1);
	error = advise(rdm_page_pins_address(slab, part->first),
		       (part->end - part->first) << rdm_state.page_shift, MADV_DONTFORK);
	if (error)
		let_go(part);
	return error;
}

bool rdm_page_pins_prepare(char *addr, size_t length)
{
	const char *end = addr + length;
	struct part part;

	while (next_part(&addr, end, &part))
		if (!make_pins(part.slab))
			return false;
	return true;
}

static void let_parts_go(char *addr, const char *end)
{
	struct part part;

	while (next_part(&addr, end, &part))
		let_go(&part);
}

void rdm_page_pins_let_go(char *addr, size_t length)
{
	let_parts_go(addr, addr + length);
}

int rdm_page_pins_hold(char *addr, size_t length, bool *inside)
{
	char *at = addr, *done = addr;
	struct part part;

	*inside = false;
	while (next_part(&at, addr + length, &part)) {
		int error = rdm_fork_is_ready() ? hold_late(&part) : hold(&part);

		if (error) {
			let_parts_go(addr, done);
			return error;
		}
		*inside = true;
		done = at;
	}
	return 0;
}

size_t rdm_page_pins_next(const struct rdm_slab *slab, size_t page, size_t end, bool pinned)
{
	const uint16_t *pins = rdm_page_pins_of(slab);

	rdm_assert(page <= end && end <= slab->pages);
	if (!pins)
		return pinned ? end : page;
	while (page < end && (read_pin(pins, page) != 0) != pinned)
		page++;
	return page;
}

bool rdm_page_pins_any(const void *addr, size_t length)
{
	char *at = (char *)(uintptr_t)addr;
	struct part part;

	while (next_part(&at, (const char *)addr + length, &part))
		if (rdm_page_pins_next(part.slab, part.first, part.end, true) < part.end)
			return true;
	return false;
}

void rdm_page_pins_forget(struct rdm_slab_set *set)
{
	const struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link)
		if (rdm_page_pins_of(slab) &&
		    rdm_page_pins_next(slab, 0, slab->pages, true) < slab->pages)
			memset(rdm_page_pins_of(slab), 0, slab->pages * sizeof(uint16_t));
}
