/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/pins.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ablate.h"
#include "base/blame.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/page.h"
#include "fork/fork.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "plain/kernel_copies.h"
#include "plain/ledger.h"
#include "plain/page_pins.h"
#include "plain/pages.h"
#include "plain/stacks.h"
#include "plain/touch.h"
#include "plain/vmpin.h"
#include "sync/gate.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

static struct rdm_lock lock = RDM_LOCK_INIT(RDM_RANK_PINS);
static struct rdm_pin_counts counts;

/* Of the forks that run. */
static bool everything;
/* Of the one that is made ready: whether no other runs. */
static bool is_first;

static int hold_range(char *addr, size_t length)
{
	bool inside;
	int error;

	if (!rdm_page_pins_prepare(addr, length))
		return ENOMEM;
	rdm_lock_take(&lock);
	error = rdm_page_pins_hold(addr, length, &inside);
	if (!error) {
		*(inside ? &counts.inside : &counts.outside) += 1;
		*(inside ? &counts.inside_bytes : &counts.outside_bytes) += length;
	}
	rdm_lock_release(&lock);
	if (error)
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){ error, RDM_WANT_MAPPINGS, length, NULL },
			  "cannot take %zu bytes at %p out of fork() to register them", length,
			  (void *)addr);
	return error;
}

static void close_entry(struct rdm_pin *pin)
{
	rdm_lock_take(&lock);
	rdm_ledger_close(pin);
	rdm_lock_release(&lock);
	rdm_ledger_free(pin);
}

/*
 * An open entry for memory that is out of the fork, and has been written since. It is there
 * before the first page is out: who forks meanwhile must copy it.
 */
static struct rdm_pin *prepare(char *addr, size_t length)
{
	struct rdm_pin *pin = rdm_ledger_entry(addr, length);

	errno = ENOMEM;
	if (!pin) {
		rdm_log(RDM_LOG_ERROR, "no memory for the record of a registration");
		return NULL;
	}
	rdm_lock_take(&lock);
	rdm_ledger_open(pin);
	rdm_lock_release(&lock);
	if (hold_range(addr, length)) {
		close_entry(pin);
		errno = ENOMEM;
		return NULL;
	}
	rdm_touch(addr, length);
	return pin;
}

struct rdm_pin *rdm_pins_add(void *addr, size_t length)
{
	/* The kernel pins the page that no byte is in. */
	return prepare(addr, !length && rdm_page_start(addr) != addr ? 1 : length);
}

void rdm_pins_name(struct rdm_pin *pin, const void *handle)
{
	rdm_assert(pin && handle);
	rdm_lock_take(&lock);
	rdm_ledger_name(pin, handle);
	rdm_lock_release(&lock);
}

struct rdm_pin *rdm_pins_take(const void *handle)
{
	struct rdm_pin *pin;

	rdm_lock_take(&lock);
	pin = rdm_ledger_take(handle);
	rdm_lock_release(&lock);
	return pin;
}

void rdm_pins_drop(struct rdm_pin *pin)
{
	rdm_assert(pin);
	rdm_lock_take(&lock);
	rdm_ledger_close(pin);
	rdm_page_pins_let_go(pin->addr, pin->length);
	rdm_lock_release(&lock);
	rdm_ledger_free(pin);
}

int rdm_pins_add_range(void *addr, size_t length)
{
	struct rdm_pin *pin = prepare(addr, length);

	rdm_assert(length);
	if (!pin)
		return -1;
	rdm_lock_take(&lock);
	pin = rdm_ledger_announce(pin);
	rdm_lock_release(&lock);
	rdm_ledger_free(pin);
	return 0;
}

void rdm_pins_drop_range(void *addr, size_t length)
{
	char *from = rdm_page_start(addr),
	     *end = rdm_page_start((char *)addr + length + rdm_page_size() - 1), *run;
	/* Where there is no memory for them, what sticks out stays pinned. */
	struct rdm_pin *spare[RDM_LEDGER_SPARES] = { NULL, rdm_ledger_entry(NULL, 0),
						     rdm_ledger_entry(NULL, 0) };

	while (from < end) {
		rdm_lock_take(&lock);
		if (rdm_ledger_withdraw(from, end, spare, &run, &length)) {
			rdm_page_pins_let_go(run, length);
			from = run + length;
		} else {
			from = end;
		}
		rdm_lock_release(&lock);
		rdm_ledger_free(spare[0]);
		spare[0] = NULL;
	}
	for (unsigned i = 0; i < RDM_LEDGER_SPARES; i++)
		rdm_ledger_free(spare[i]);
}

void rdm_pins_count(struct rdm_pin_counts *out)
{
	rdm_lock_take(&lock);
	*out = counts;
	out->pages = rdm_ledger_pages();
	rdm_lock_release(&lock);
}

bool rdm_pins_exist(void)
{
	return rdm_ledger_pages() != 0;
}

bool rdm_pins_any(const void *addr, size_t length)
{
	return rdm_page_pins_any(addr, length);
}

/* With the lock. pinned: as far as the kernel says. */
static bool is_unseen(size_t *pinned)
{
	*pinned = SIZE_MAX;
	return !rdm_vmpin_read(pinned) || !rdm_ledger_explains(*pinned);
}

bool rdm_pins_unseen(void)
{
	bool unseen;
	size_t pinned;

	rdm_assert(rdm_gate_is_inside() || rdm_quiesce_is_held());
	if (rdm_ablated(RDM_ABLATE_UNSEEN))
		return false;
	rdm_lock_take(&lock);
	unseen = is_unseen(&pinned);
	rdm_lock_release(&lock);
	return unseen;
}

bool rdm_pins_discard(void *addr, size_t length)
{
	const struct rdm_slab *slab = rdm_slab_of(addr);
	size_t page = rdm_page_pins_page(slab, addr);
	size_t end = page + (length >> rdm_state.page_shift);
	bool all = true;

	rdm_assert(end <= slab->pages);
	while (page < end) {
		size_t until = rdm_page_pins_next(slab, page, end, true);

		if (until > page)
			all &= rdm_pages_discard(rdm_page_pins_address(slab, page),
						 (until - page) << rdm_state.page_shift,
						 slab->set->ops->outlives_fork);
		page = rdm_page_pins_next(slab, until, end, false);
		all &= until == end;
	}
	return all;
}

static bool stays_here(const struct rdm_slab *slab, const uint16_t *pins, size_t page)
{
	return (everything || (pins && pins[page])) &&
	       !rdm_stacks_spare(rdm_page_pins_address(slab, page));
}

/* The first page from `page` on, before `end`, that stays here or does not. */
static size_t next_staying(const struct rdm_slab *slab, size_t page, size_t end, bool stays)
{
	const uint16_t *pins = rdm_page_pins_of(slab);

	if (!everything && !rdm_stacks_are_spared())
		return rdm_page_pins_next(slab, page, end, stays);
	while (page < end && stays_here(slab, pins, page) != stays)
		page++;
	return page;
}

bool rdm_pins_next(const struct rdm_slab *slab, char *from, char *end, char **run, size_t *length)
{
	const uint16_t *pins = rdm_page_pins_of(slab);
	size_t page, first, last;

	rdm_assert(from >= slab->base);
	rdm_assert(end <= slab->base + slab->length);
	if (from >= end || (!pins && !everything))
		return false;
	last = rdm_page_pins_page(slab, end - 1);
	first = next_staying(slab, rdm_page_pins_page(slab, from), last + 1, true);
	page = next_staying(slab, first, last + 1, false);
	if (page == first)
		return false;
	*run = rdm_page_pins_address(slab, first) > from ? rdm_page_pins_address(slab, first) :
							   from;
	*length = (size_t)((page > last ? end : rdm_page_pins_address(slab, page)) - *run);
	return true;
}

void rdm_pins_note_stack(void *addr, size_t length)
{
	struct rdm_stack *stack;

	rdm_fork_await();
	stack = rdm_stacks_make((char *)addr + length);
	if (!stack)
		return;
	rdm_lock_take(&lock);
	rdm_stacks_add(stack);
	rdm_lock_release(&lock);
}

void rdm_pins_name_own(const char *own, const char *end)
{
	rdm_lock_take(&lock);
	rdm_stacks_set_own(own, end);
	rdm_lock_release(&lock);
}

void rdm_pins_forget_stacks(void *block, size_t length)
{
	struct rdm_stack *forgotten;

	rdm_lock_take(&lock);
	forgotten = rdm_stacks_take(block, length);
	rdm_lock_release(&lock);
	rdm_stacks_free(forgotten);
}

void rdm_pins_spare(const char *from, const char *end)
{
	if (rdm_reserve_has(end - 1) && rdm_pins_any(from, (size_t)(end - from)))
		rdm_stacks_spare_range(from, end);
}

static bool locked_by_fork;

bool rdm_pins_try_for_fork(void)
{
	if (rdm_lock_is_mine(&lock))
		return true;
	if (!rdm_lock_try(&lock))
		return false;
	locked_by_fork = true;
	return true;
}

void rdm_pins_unlock_for_fork(void)
{
	if (locked_by_fork) {
		locked_by_fork = false;
		rdm_lock_release(&lock);
	}
}

void rdm_pins_prefork(const void *stack, bool first)
{
	rdm_assert(rdm_lock_is_mine(&lock));
	if (first) {
		rdm_stacks_spare_none();
		everything = false;
	}
	if (rdm_reserve_has(stack))
		rdm_pins_spare((const char *)stack - RDM_STACK_BELOW, rdm_stacks_above(stack));
	is_first = first;
}

/* Pages that this fork spares. */
static void advise_spared(const struct rdm_slab *slab, int advice)
{
	const uint16_t *pins = rdm_page_pins_of(slab);

	for (size_t page = 0; pins && rdm_stacks_are_spared() && page < slab->pages; page++)
		if (pins[page] && rdm_stacks_spare(rdm_page_pins_address(slab, page))) {
			rdm_kernel_advise(rdm_page_pins_address(slab, page), rdm_page_size(),
					  advice);
			if (advice == MADV_DONTFORK)
				rdm_touch(rdm_page_pins_address(slab, page), rdm_page_size());
		}
}

static void take_out(const struct rdm_slab *slab)
{
	char *end = slab->base + slab->length;
	size_t length;

	rdm_assert(rdm_lock_is_mine(&lock));
	for (char *run = slab->base; rdm_pins_next(slab, run, end, &run, &length); run += length)
		if (!rdm_ablated(RDM_ABLATE_REASSERT | RDM_ABLATE_DONTFORK) &&
		    rdm_kernel_advise(run, length, MADV_DONTFORK))
			rdm_log(RDM_LOG_ERROR,
				"fork: MADV_DONTFORK on registered memory failed (%d): its data "
				"can be lost",
				errno);
	advise_spared(slab, MADV_DOFORK);
}

/* What is not registered. */
static void put_in(const struct rdm_slab *slab)
{
	size_t end;

	for (size_t page = 0; page < slab->pages; page = end) {
		page = rdm_page_pins_next(slab, page, slab->pages, false);
		end = rdm_page_pins_next(slab, page, slab->pages, true);
		if (end > page)
			rdm_kernel_advise(rdm_page_pins_address(slab, page),
					  (end - page) << rdm_state.page_shift, MADV_DOFORK);
	}
}

/*
 * Whether the kernel copies for the child what strangers have pinned. The child that this
 * is tried with gets nothing of the set, in which pins may be.
 */
static bool kernel_copies(const struct rdm_slab_set *set)
{
	const struct rdm_slab *slab;
	bool all = true;

	if (rdm_ablated(RDM_ABLATE_LEAVE))
		return false;
	if (rdm_kernel_copies_known() == RDM_COPIES_UNKNOWN) {
		TAILQ_FOREACH (slab, &set->slabs, link)
			all &= !rdm_kernel_advise(slab->base, slab->length, MADV_DONTFORK);
		if (all)
			rdm_kernel_copies_ask();
		TAILQ_FOREACH (slab, &set->slabs, link)
			put_in(slab);
	}
	return rdm_kernel_copies_known() == RDM_COPIES_YES;
}

static void say_unseen(size_t pinned)
{
	const char *who = everything ? "all large blocks are copied for the child" :
				       "the kernel copies them for the child";

	if (pinned == SIZE_MAX)
		rdm_log(everything ? RDM_LOG_WARN : RDM_LOG_INFO,
			"fork: /proc/self/status cannot be read, so that any page may be pinned: %s",
			who);
	else
		rdm_log(RDM_LOG_WARN, "fork: %zu pages are pinned, of %zu it is known which: %s",
			pinned, rdm_ledger_pages(), who);
}

static void look_for_unseen(const struct rdm_slab_set *set)
{
	size_t pinned;
	bool unseen = is_unseen(&pinned);

	everything = unseen && !kernel_copies(set);
	if (unseen && !counts.unseen++)
		say_unseen(pinned);
}

void rdm_pins_prefork_set(struct rdm_slab_set *set)
{
	const struct rdm_slab *slab;

	rdm_assert(rdm_lock_is_mine(&lock));
	rdm_stacks_for_each(rdm_pins_spare);
	/* What is so for a fork that runs stays so until none does. */
	if (is_first)
		look_for_unseen(set);
	TAILQ_FOREACH (slab, &set->slabs, link)
		take_out(slab);
}

void rdm_pins_postfork_parent_set(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		if (atomic_load(&slab->pinned_late))
			atomic_store(&slab->pinned_late, false);
		advise_spared(slab, MADV_DONTFORK);
		if (everything)
			put_in(slab);
	}
}

void rdm_pins_postfork_child_set(struct rdm_slab_set *set)
{
	rdm_page_pins_forget(set);
}

/* The registrations are the parent's. */
void rdm_pins_postfork_child(void)
{
	rdm_lock_forget_others(&lock);
	rdm_ledger_forget();
	if (counts.inside || counts.outside || counts.unseen)
		counts = (struct rdm_pin_counts){ 0 };
}
