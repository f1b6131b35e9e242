/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/late.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "sync/gate.h"

/* An entry: the address, the kind in its lowest bits, the state in its highest, which no address has. */
#define KIND_BITS ((uintptr_t)15)
#define STATE_SHIFT 56

/* Places for entries, each taken and given by itself, in no order. */
#define FIRST_PLACES 256
#define MORE_BYTES ((size_t)64 << 10)

struct places {
	_Atomic(struct places *) next;
	unsigned count;
	_Atomic unsigned used;
	_Atomic unsigned put, taken; /* where the next one is tried */
	_Atomic uintptr_t *entry;
};

static _Atomic uintptr_t first_entries[FIRST_PLACES];
static struct places first = { .count = FIRST_PLACES, .entry = first_entries };

_Atomic unsigned rdm_late_count;

static bool put_into(struct places *places, uintptr_t entry)
{
	/* It is reserved, so there is a free one. */
	if (atomic_fetch_add(&places->used, 1) >= places->count) {
		atomic_fetch_sub(&places->used, 1);
		return false;
	}
	for (;;) {
		unsigned i = atomic_fetch_add(&places->put, 1) % places->count;
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong(&places->entry[i], &none, entry))
			return true;
	}
}

/* Where the list ends. False: no memory. */
static bool make_more(struct places *last)
{
	struct places *none = NULL;
	struct places *more = rdm_kernel_map(NULL, MORE_BYTES, PROT_READ | PROT_WRITE, 0);

	if (more == MAP_FAILED)
		return false;
	more->count = (unsigned)((MORE_BYTES - sizeof(*more)) / sizeof(uintptr_t));
	more->entry = (_Atomic uintptr_t *)(void *)(more + 1);
	if (!atomic_compare_exchange_strong(&last->next, &none, more))
		rdm_kernel_unmap(more, MORE_BYTES);
	return true;
}

void rdm_late_put(void *what, enum rdm_late_kind kind, unsigned state)
{
	static atomic_bool complained;
	uintptr_t entry = (uintptr_t)what | kind | (uintptr_t)state << STATE_SHIFT;
	struct places *places = &first;

	rdm_assert(what && !((uintptr_t)what & KIND_BITS) && !((uintptr_t)what >> STATE_SHIFT));
	rdm_assert(state <= UINT8_MAX);
	/* Nobody will ever come for it. */
	if (rdm_gate_is_shut())
		return;
	while (!put_into(places, entry)) {
		struct places *next = atomic_load(&places->next);

		if (!next && !make_more(places)) {
			if (!atomic_exchange(&complained, true))
				rdm_log(RDM_LOG_WARN,
					"no memory to remember what is freed while fork() runs: it is lost");
			return;
		}
		if (next)
			places = next;
	}
	atomic_fetch_add(&rdm_late_count, 1);
}

static bool take_from(struct places *places, uintptr_t *entry)
{
	for (unsigned tried = 0; tried < places->count && atomic_load(&places->used); tried++) {
		unsigned i = atomic_fetch_add(&places->taken, 1) % places->count;

		*entry = atomic_exchange(&places->entry[i], 0);
		if (*entry) {
			atomic_fetch_sub(&places->used, 1);
			return true;
		}
	}
	return false;
}

bool rdm_late_take(struct rdm_late *late)
{
	uintptr_t entry;

	rdm_assert(late);
	for (struct places *places = &first; places; places = atomic_load(&places->next)) {
		if (!take_from(places, &entry))
			continue;
		atomic_fetch_sub(&rdm_late_count, 1);
		late->kind = (enum rdm_late_kind)(entry & KIND_BITS);
		late->state = (unsigned)(entry >> STATE_SHIFT);
		late->what = (void *)(entry & ~KIND_BITS & (((uintptr_t)1 << STATE_SHIFT) - 1));
		return true;
	}
	return false;
}

void rdm_late_postfork_child(void)
{
	unsigned all = 0;

	for (struct places *places = &first; places; places = atomic_load(&places->next)) {
		unsigned here = 0;

		/* As a rule it is empty, and stays a page that is nobody's own. */
		if (!atomic_load(&places->used))
			continue;
		for (unsigned i = 0; i < places->count; i++) {
			/* The caches of threads that a child does not have are ended together. */
			if ((atomic_load(&places->entry[i]) & KIND_BITS) == RDM_LATE_THREAD)
				atomic_store(&places->entry[i], 0);
			here += atomic_load(&places->entry[i]) != 0;
		}
		atomic_store(&places->used, here);
		all += here;
	}
	if (atomic_load(&rdm_late_count) != all)
		atomic_store(&rdm_late_count, all);
}
