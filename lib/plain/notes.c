/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/notes.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "heap/heap.h"
#include "memory/locked.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "plain/pages.h"
#include "plain/pins.h"
#include "sync/gate.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#define GUARD_REMOVE 103

/* Besides kinds: the block was freed, and waits. */
#define WAITS (1U << 7)
/* Who advises so many blocks to have huge pages does so with all that are large. */
#define HABIT 64

unsigned rdm_notes_taken;

/* Blocks that wait; a free looks at one place. */
#define PLACES 1024
static _Atomic(void *) waiting[PLACES];
static _Atomic unsigned waiters, hand;

struct part {
	struct rdm_slab *slab;
	size_t first, end; /* pages */
};

static char *address(const struct rdm_slab *slab, size_t page)
{
	return slab->base + (page << rdm_state.page_shift);
}

static size_t page_at(const struct rdm_slab *slab, const char *addr)
{
	rdm_assert(addr >= slab->base && addr <= slab->base + slab->length);
	return (size_t)(addr - slab->base) >> rdm_state.page_shift;
}

/* The pages of a range that are in the next slab, from *at on, which moves past it; false: no more. */
static bool next_part(uintptr_t *at, uintptr_t end, struct part *part)
{
	uintptr_t base = rdm_reserve.base, size = rdm_reserve_size();

	if (*at < base)
		*at = base;
	if (end > base + size)
		end = base + size;
	for (; *at < end; *at = (*at | (RDM_GRANULE - 1)) + 1) {
		struct rdm_slab *slab = rdm_slab_of((void *)*at);
		uintptr_t last = slab ? (uintptr_t)slab->base + slab->length : 0;

		if (!slab)
			continue;
		last = (last < end ? last : end) - 1;
		part->slab = slab;
		part->first = page_at(slab, (char *)*at);
		part->end = page_at(slab, (char *)last) + 1;
		*at = last + 1;
		return true;
	}
	return false;
}

static uint8_t *notes_of(const struct rdm_slab *slab)
{
	return atomic_load_explicit(&slab->notes, memory_order_acquire);
}

static uint8_t *make_notes(struct rdm_slab *slab)
{
	uint8_t *none = NULL, *notes = notes_of(slab);

	if (notes)
		return notes;
	notes = rdm_kernel_map(NULL, slab->pages, PROT_READ | PROT_WRITE, 0);
	if (notes == MAP_FAILED)
		return NULL;
	if (atomic_compare_exchange_strong(&slab->notes, &none, notes))
		return notes;
	rdm_kernel_unmap(notes, slab->pages);
	return none;
}

static uint8_t read_note(const uint8_t *notes, size_t page)
{
	return __atomic_load_n(&notes[page], __ATOMIC_RELAXED);
}

bool rdm_notes_add(const void *addr, size_t length, unsigned kinds)
{
	uintptr_t at = (uintptr_t)addr, end = at + length;
	struct part part;

	rdm_assert(kinds);
	while (next_part(&at, end, &part)) {
		uint8_t *notes = make_notes(part.slab);

		if (!notes) {
			errno = ENOMEM;
			return false;
		}
		for (size_t page = part.first; page < part.end; page++)
			if ((read_note(notes, page) & kinds) != kinds)
				__atomic_fetch_or(&notes[page], kinds, __ATOMIC_RELAXED);
		if (!rdm_notes_any())
			__atomic_store_n(&rdm_notes_taken, 1, __ATOMIC_RELAXED);
	}
	return true;
}

void rdm_notes_end(const void *addr, size_t length, unsigned kinds)
{
	uintptr_t at = (uintptr_t)addr, end = at + length;
	struct part part;

	while (rdm_notes_any() && next_part(&at, end, &part)) {
		uint8_t *notes = notes_of(part.slab);

		for (size_t page = part.first; notes && page < part.end; page++)
			if (read_note(notes, page) & kinds)
				__atomic_fetch_and(&notes[page], (uint8_t)~kinds, __ATOMIC_RELAXED);
	}
}

/* Whole pages of a block that have a note, up to one that has others; false: no more. */
static bool next_noted(struct part *part, size_t end, uint8_t *kinds)
{
	const uint8_t *notes = notes_of(part->slab);

	part->first = part->end;
	while (part->first < end && !read_note(notes, part->first))
		part->first++;
	if (part->first >= end)
		return false;
	*kinds = read_note(notes, part->first);
	part->end = part->first + 1;
	while (part->end < end && read_note(notes, part->end) == *kinds)
		part->end++;
	return true;
}

/* Before a loop over next_noted(): the whole pages of a block. False: none has a note. */
static bool begin_noted(struct part *part, char *block, size_t usable, size_t *end)
{
	size_t offset_mask = ((size_t)1 << rdm_state.page_shift) - 1;
	struct part look;
	uint8_t kinds;

	part->slab = rdm_slab_of(block);
	rdm_assert(part->slab);
	if (!notes_of(part->slab))
		return false;
	/* Up to the next page: a block may be in the last one of its slab. */
	part->end = page_at(part->slab, block) + !!((uintptr_t)block & offset_mask);
	*end = page_at(part->slab, block + usable);
	look = *part;
	return next_noted(&look, *end, &kinds);
}

static void write_notes(const struct part *part, uint8_t kinds)
{
	for (size_t page = part->first; page < part->end; page++)
		__atomic_store_n(&notes_of(part->slab)[page], kinds, __ATOMIC_RELAXED);
}

static char *start_of(const struct part *part)
{
	return address(part->slab, part->first);
}

static size_t length_of(const struct part *part)
{
	return (part->end - part->first) << rdm_state.page_shift;
}

/* As it was mapped. Closed sets are never inherited, and where all memory is locked so is this. */
static bool undo_calls(const struct part *part, unsigned kinds)
{
	char *at = start_of(part);
	size_t length = length_of(part);
	bool done = true;

	if (kinds & RDM_NOTE_OTHER) {
		syscall(SYS_mbind, at, length, 0, NULL, 0, 0);
		rdm_kernel_advise(at, length, GUARD_REMOVE);
#ifdef SYS_pkey_mprotect
		syscall(SYS_pkey_mprotect, at, length, PROT_READ | PROT_WRITE, 0);
#endif
	}
	if (kinds & RDM_NOTE_ADVICE) {
		rdm_kernel_advise(at, length, MADV_NORMAL);
		rdm_kernel_advise(at, length, MADV_DODUMP);
		done &= !rdm_kernel_advise(at, length, MADV_UNMERGEABLE) || errno == EINVAL;
	}
	if (kinds & RDM_NOTE_LOCK && !rdm_locked_future())
		done &= !syscall(SYS_munlock, at, length);
	if (kinds & RDM_NOTE_WIPE)
		done &= !rdm_kernel_advise(at, length, MADV_KEEPONFORK);
	if (kinds & RDM_NOTE_FORK && part->slab->set->ops->outlives_fork)
		done &= !rdm_kernel_advise(at, length, MADV_DOFORK);
	if (kinds & (RDM_NOTE_PROTECTION | RDM_NOTE_OTHER))
		done &= !syscall(SYS_mprotect, at, length, PROT_READ | PROT_WRITE);
	return done;
}

/* What no call undoes goes with the mapping, and with it the pages. */
static bool is_mapped_anew(const struct part *part, unsigned kinds)
{
	static _Atomic unsigned advised;

	if (kinds & RDM_NOTE_HUGE && !(kinds & RDM_NOTE_OTHER) && atomic_load(&advised) >= HABIT)
		return false;
	if (!(kinds & (RDM_NOTE_HUGE | RDM_NOTE_OTHER)) || rdm_locked_future() ||
	    rdm_pages_renew(start_of(part), length_of(part), !part->slab->set->ops->outlives_fork))
		return false;
	atomic_fetch_add(&advised, kinds & RDM_NOTE_HUGE ? 1 : 0);
	return true;
}

/* Nobody has it pinned. Advice on huge pages may stay, which costs no more than memory. */
static bool undo(const struct part *part, unsigned kinds)
{
	unsigned left = 0;

	rdm_assert(rdm_gate_is_inside());
	if (!is_mapped_anew(part, kinds)) {
		left = kinds & RDM_NOTE_HUGE;
		/* What children did not inherit is a hole here. */
		if (!undo_calls(part, kinds) && !is_mapped_anew(part, kinds | RDM_NOTE_OTHER))
			return false;
	}
	write_notes(part, left);
	return true;
}

/* Pages that are pinned stay out of the fork until they are not, when they are put in again (pins.c). */
static bool undo_beside_pins(struct part *part, unsigned kinds)
{
	size_t end = part->end;
	bool done = true;

	for (part->end = part->first; done && part->end < end; part->first = part->end) {
		bool pinned;

		part->end = part->first + 1;
		pinned = rdm_pins_any(start_of(part), length_of(part));
		if (!pinned)
			done = undo(part, kinds);
		else if (kinds & ~(RDM_NOTE_FORK | RDM_NOTE_HUGE))
			done = false;
		else
			write_notes(part, kinds & RDM_NOTE_HUGE);
	}
	part->end = end;
	return done;
}

static bool settle(char *block, size_t usable)
{
	struct part part;
	uint8_t kinds;
	bool done = true;
	size_t end;

	if (!begin_noted(&part, block, usable, &end))
		return true;
	/* It waits, as what a fork() is in the way of. */
	if (!rdm_gate_enter())
		return false;
	while (done && next_noted(&part, end, &kinds)) {
		/* In a child whose pool is closed nobody gets it. */
		if (atomic_load(&part.slab->heap->inherited))
			write_notes(&part, 0);
		else if (rdm_pins_any(start_of(&part), length_of(&part)))
			done = undo_beside_pins(&part, kinds & ~WAITS);
		else
			done = undo(&part, kinds & ~WAITS);
	}
	rdm_gate_leave();
	return done;
}

static bool put_in_place(void *block)
{
	for (unsigned i = 0; i < PLACES; i++) {
		void *none = NULL;

		if (atomic_compare_exchange_strong(&waiting[i], &none, block)) {
			atomic_fetch_add(&waiters, 1);
			return true;
		}
	}
	return false;
}

/* Marks what still has notes, so that a second free of the block is seen. */
static void wait_for_better(char *block, size_t usable)
{
	struct part part;
	uint8_t kinds;
	size_t end;

	if (begin_noted(&part, block, usable, &end))
		while (next_noted(&part, end, &kinds))
			write_notes(&part, kinds | WAITS);
	if (!put_in_place(block))
		rdm_log(RDM_LOG_WARN,
			"%zu bytes at %p that were freed are lost: what their owner has done to them "
			"with madvise() or mprotect() cannot be undone (errno %d)",
			usable, (void *)block, errno);
}

bool rdm_notes_settle(void *block, size_t usable)
{
	struct part part;
	uint8_t kinds;
	size_t end;

	rdm_assert(block && usable);
	if (rdm_ablated(RDM_ABLATE_NOTES) || !begin_noted(&part, block, usable, &end))
		return true;
	if (next_noted(&part, end, &kinds) && kinds & WAITS)
		rdm_die("free(%p): it was freed already", block);
	if (settle(block, usable))
		return true;
	wait_for_better(block, usable);
	return false;
}

void *rdm_notes_waited(void)
{
	size_t usable;
	unsigned place;
	void *block;

	if (!atomic_load_explicit(&waiters, memory_order_relaxed))
		return NULL;
	/* Places are taken from the first on, and each has its turn. */
	place = atomic_fetch_add(&hand, 1) % PLACES;
	while (place && !atomic_load_explicit(&waiting[place], memory_order_relaxed))
		place /= 2;
	block = atomic_exchange(&waiting[place], NULL);
	if (!block)
		return NULL;
	atomic_fetch_sub(&waiters, 1);
	usable = rdm_state_block_size(rdm_state_peek(block));
	if (settle(block, usable))
		return block;
	wait_for_better(block, usable);
	return NULL;
}

bool rdm_notes_in(void *block, size_t usable)
{
	struct part part;
	size_t end;

	return begin_noted(&part, block, usable, &end);
}

void rdm_notes_open(void *block, size_t usable)
{
	struct part part;
	uint8_t kinds;
	size_t end;

	if (!begin_noted(&part, block, usable, &end))
		return;
	while (next_noted(&part, end, &kinds))
		if (kinds & (RDM_NOTE_PROTECTION | RDM_NOTE_OTHER))
			undo_calls(&part, kinds & (RDM_NOTE_PROTECTION | RDM_NOTE_OTHER));
}

static void settle_run(void *addr, size_t length)
{
	struct part part;
	uint8_t kinds;
	size_t end;

	rdm_assert(rdm_gate_is_inside());
	if (!begin_noted(&part, addr, length, &end))
		return;
	while (next_noted(&part, end, &kinds)) {
		if (!rdm_pins_any(start_of(&part), length_of(&part)))
			undo(&part, kinds);
		else
			undo_beside_pins(&part, kinds);
	}
}

void rdm_notes_settle_runs(const struct rdm_run *run, size_t count)
{
	rdm_assert(run || !count);
	for (size_t i = 0; rdm_notes_any() && i < count; i++)
		settle_run(run[i].at, run[i].size);
}

void rdm_notes_forget(struct rdm_slab *slab)
{
	uint8_t *notes = notes_of(slab);

	if (notes)
		rdm_kernel_unmap(notes, slab->pages);
}
