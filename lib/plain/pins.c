/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/pins.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/ablate.h"
#include "base/clock.h"
#include "base/blame.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "fork/fork.h"
#include "fork/snapshot.h"
#include "memory/meta.h"
#include "memory/slab_map.h"
#include "memory/state.h"
#include "plain/pages.h"
#include "plain/present.h"
#include "plain/stacks.h"
#include "sync/gate.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

#define BUCKETS 4096

struct rdm_pin {
	LIST_ENTRY(rdm_pin) link;
	const void *handle;
	char *addr;
	size_t length;
};

static struct rdm_lock lock = RDM_LOCK_INIT(RDM_RANK_PINS);
static LIST_HEAD(bucket, rdm_pin) named[BUCKETS];
static struct rdm_pin_counts counts;

/* A kernel may take its time to unpin what has ended. */
#define LATELY_MS 200
static uint32_t dropped_at;
static size_t dropped_lately;

/* Of the forks that run. */
static bool everything;
/* Of the one that is made ready: whether no other runs. */
static bool is_first;

static size_t page_size(void)
{
	return (size_t)1 << rdm_state.page_shift;
}

/* The pages of a range that are in one plain slab. */
struct part {
	struct rdm_slab *slab;
	size_t first, end;
};

static size_t page_of(const struct rdm_slab *slab, const char *addr)
{
	rdm_assert(addr >= slab->base && addr < slab->base + slab->length);
	return (size_t)(addr - slab->base) >> rdm_state.page_shift;
}

static char *page_address(const struct rdm_slab *slab, size_t page)
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
		part->first = page_of(slab, *at);
		part->end = page_of(slab, last) + 1;
		*at = slab->base + slab->length;
		return true;
	}
	return false;
}

static int advise(char *addr, size_t length, int advice)
{
	return rdm_kernel_advise(addr, length, advice) ? errno : 0;
}

static uint16_t *pins_of(const struct rdm_slab *slab)
{
	return atomic_load_explicit(&slab->pins, memory_order_acquire);
}

static bool make_pins(struct rdm_slab *slab)
{
	uint16_t *none = NULL, *pins;

	if (pins_of(slab))
		return true;
	/* Not of our records' memory, which is not to be had while fork() runs. */
	pins = rdm_kernel_map(NULL, slab->pages * sizeof(*pins), PROT_READ | PROT_WRITE, 0);
	if (pins == MAP_FAILED)
		return false;
	if (!atomic_compare_exchange_strong(&slab->pins, &none, pins))
		rdm_kernel_unmap(pins, slab->pages * sizeof(*pins));
	return true;
}

void rdm_pins_forget(struct rdm_slab *slab)
{
	uint16_t *pins = pins_of(slab);

	if (pins)
		rdm_kernel_unmap(pins, slab->pages * sizeof(*pins));
}

/* Records for who registers while fork() runs and will not wait for its end. */
#define SPARES 64
static struct rdm_pin spares[SPARES];
static atomic_bool spare_is_used[SPARES];

static struct rdm_pin *new_pin(void)
{
	struct rdm_pin *pin = rdm_meta_alloc(sizeof(*pin));

	for (unsigned i = 0; i < SPARES && !pin && rdm_fork_is_ready(); i++)
		if (!atomic_exchange(&spare_is_used[i], true))
			pin = &spares[i];
	return pin;
}

static void free_pin(struct rdm_pin *pin)
{
	if (pin >= spares && pin < spares + SPARES)
		atomic_store(&spare_is_used[pin - spares], false);
	else
		rdm_meta_free(pin);
}

static uint16_t read_pin(const uint16_t *pins, size_t page)
{
	return __atomic_load_n(&pins[page], __ATOMIC_RELAXED);
}

static void write_pin(uint16_t *pins, size_t page, uint16_t count)
{
	__atomic_store_n(&pins[page], count, __ATOMIC_RELAXED);
}

/* Pages that lose their last pin. */
static void put_in_again(const struct part *part, size_t first, size_t end)
{
	int error = part->slab->set->ops->outlives_fork ?
			    advise(page_address(part->slab, first),
				   (end - first) << rdm_state.page_shift, MADV_DOFORK) :
			    0;

	/*
	 * Afterwards: a process that is made meanwhile goes by the counts where it has holes. And if
	 * children do not inherit them still, they must get copies.
	 */
	for (size_t i = first; i < end; i++)
		write_pin(pins_of(part->slab), i, error ? UINT16_MAX : 0);
}

/* The kernel may have marked some pages of the part before it failed. */
static void undo_hold(const struct part *part)
{
	const uint16_t *pins = pins_of(part->slab);
	size_t end;

	for (size_t i = part->first; i < part->end; i = end) {
		for (end = i + 1; end < part->end && !pins[end] == !pins[i];)
			end++;
		if (!pins[i])
			put_in_again(part, i, end);
	}
}

static int hold(const struct part *part)
{
	char *start = page_address(part->slab, part->first);
	uint16_t *pins = pins_of(part->slab);
	int error = 0;

	rdm_assert(rdm_lock_is_mine(&lock));
	rdm_assert(pins);
	rdm_assert(part->first < part->end && part->end <= part->slab->pages);
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

static void let_go(const struct part *part)
{
	uint16_t *pins = pins_of(part->slab);
	size_t end;

	rdm_assert(rdm_lock_is_mine(&lock));
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

/*
 * As hold, while processes are made, for which what was pinned then has been copied: they find the copy of what is
 * pinned now, too, in case they are made after it was taken out. Each step is a process's that is
 * made before the next.
 */
static int hold_late(const struct part *part)
{
	struct rdm_slab *slab = part->slab;
	uint16_t *pins = pins_of(slab);
	int pagemap, error;
	size_t length;
	bool present;

	rdm_assert(rdm_lock_is_mine(&lock));
	if (!slab->set->ops->outlives_fork)
		return hold(part);
	if (!rdm_snapshot_make_shadow(slab, 0))
		return ENOMEM;
	pagemap = rdm_present_open();
	for (size_t page = part->first; page < part->end; page++) {
		char *from = page_address(slab, page);

		length = rdm_present_run(pagemap, from, from + page_size(), &present);
		if (present && !pins[page])
			rdm_snapshot_copy((char *)slab->shadow + (from - slab->base), from, length);
	}
	rdm_present_close(pagemap);
	atomic_store(&slab->pinned_late, true);
	for (size_t i = part->first; i < part->end; i++)
		if (pins[i] < UINT16_MAX)
			write_pin(pins, i, pins[i] + 1);
	error = advise(page_address(slab, part->first),
		       (part->end - part->first) << rdm_state.page_shift, MADV_DONTFORK);
	if (error)
		let_go(part);
	return error;
}

static size_t pages_of(const char *addr, size_t length)
{
	uintptr_t start = (uintptr_t)addr & ~(page_size() - 1);

	return ((uintptr_t)addr + length - start + page_size() - 1) >> rdm_state.page_shift;
}

static void let_range_go(char *addr, const char *end)
{
	struct part part;

	while (next_part(&addr, end, &part))
		let_go(&part);
}

/* 0 or an errno value. */
static int hold_range(char *addr, size_t length)
{
	char *at = addr, *done = addr;
	bool inside = false;
	struct part part;
	int error = 0;

	rdm_assert(length);
	rdm_fork_await();
	while (!error && next_part(&at, addr + length, &part)) {
		inside = true;
		if (!make_pins(part.slab)) {
			error = ENOMEM;
			break;
		}
		rdm_lock_take(&lock);
		error = rdm_fork_is_ready() ? hold_late(&part) : hold(&part);
		rdm_lock_release(&lock);
		if (!error)
			done = at;
	}
	rdm_lock_take(&lock);
	if (error) {
		let_range_go(addr, done);
	} else {
		*(inside ? &counts.inside : &counts.outside) += 1;
		*(inside ? &counts.inside_bytes : &counts.outside_bytes) += length;
		counts.pages += pages_of(addr, length);
	}
	rdm_lock_release(&lock);
	if (error)
		rdm_blame(RDM_LOG_ERROR,
			  &(struct rdm_failure){ error, RDM_WANT_MAPPINGS, length, NULL },
			  "cannot take %zu bytes at %p out of fork() to register them", length,
			  (void *)addr);
	return error ? ENOMEM : 0;
}

int rdm_pins_add_range(void *addr, size_t length)
{
	int error = hold_range(addr, length);

	if (!error) {
		rdm_pages_touch(addr, length);
		return 0;
	}
	errno = error;
	return -1;
}

static size_t pages_dropped_lately(void)
{
	return rdm_clock_ms() - dropped_at < LATELY_MS ? dropped_lately : 0;
}

void rdm_pins_drop_range(void *addr, size_t length)
{
	size_t pages = pages_of(addr, length);

	rdm_lock_take(&lock);
	counts.pages -= pages < counts.pages ? pages : counts.pages;
	dropped_lately = pages_dropped_lately() + pages;
	dropped_at = rdm_clock_ms();
	let_range_go(addr, (char *)addr + length);
	rdm_lock_release(&lock);
}

struct rdm_pin *rdm_pins_add(void *addr, size_t length)
{
	struct rdm_pin *pin;

	rdm_fork_await();
	pin = new_pin();
	if (!pin) {
		rdm_log(RDM_LOG_ERROR, "no memory for the record of a registration");
		errno = ENOMEM;
		return NULL;
	}
	pin->addr = addr;
	pin->length = length;
	if (!rdm_pins_add_range(addr, length))
		return pin;
	free_pin(pin);
	errno = ENOMEM;
	return NULL;
}

static struct bucket *bucket_of(const void *handle)
{
	return &named[((uintptr_t)handle >> 4 ^ (uintptr_t)handle >> 16) % BUCKETS];
}

void rdm_pins_name(struct rdm_pin *pin, const void *handle)
{
	rdm_assert(pin && handle);
	pin->handle = handle;
	rdm_lock_take(&lock);
	LIST_INSERT_HEAD(bucket_of(handle), pin, link);
	rdm_lock_release(&lock);
}

struct rdm_pin *rdm_pins_take(const void *handle)
{
	struct rdm_pin *pin;

	rdm_lock_take(&lock);
	LIST_FOREACH (pin, bucket_of(handle), link)
		if (pin->handle == handle)
			break;
	if (pin)
		LIST_REMOVE(pin, link);
	rdm_lock_release(&lock);
	return pin;
}

void rdm_pins_drop(struct rdm_pin *pin)
{
	rdm_assert(pin);
	rdm_pins_drop_range(pin->addr, pin->length);
	free_pin(pin);
}

void rdm_pins_count(struct rdm_pin_counts *out)
{
	rdm_lock_take(&lock);
	*out = counts;
	rdm_lock_release(&lock);
}

/* The first page from `page` on, before `end`, that is pinned or is not. */
static size_t next_pinned(const struct rdm_slab *slab, size_t page, size_t end, bool pinned)
{
	const uint16_t *pins = pins_of(slab);

	rdm_assert(page <= end && end <= slab->pages);
	if (!pins)
		return pinned ? end : page;
	while (page < end && (read_pin(pins, page) != 0) != pinned)
		page++;
	return page;
}

bool rdm_pins_any(const void *addr, size_t length)
{
	char *at = (char *)(uintptr_t)addr;
	struct part part;

	while (next_part(&at, (const char *)addr + length, &part))
		if (next_pinned(part.slab, part.first, part.end, true) < part.end)
			return true;
	return false;
}

bool rdm_pins_unseen(void)
{
	rdm_assert(rdm_gate_is_inside() || rdm_quiesce_is_held());
	/* What the kernel has yet to unpin may stay where it is, too. */
	return !rdm_ablated(RDM_ABLATE_UNSEEN) &&
	       rdm_present_pinned() > __atomic_load_n(&counts.pages, __ATOMIC_RELAXED);
}

bool rdm_pins_discard(void *addr, size_t length)
{
	const struct rdm_slab *slab = rdm_slab_of(addr);
	size_t page = page_of(slab, addr);
	size_t end = page + (length >> rdm_state.page_shift);
	bool all = true;

	rdm_assert(end <= slab->pages);
	while (page < end) {
		size_t until = next_pinned(slab, page, end, true);

		if (until > page)
			rdm_pages_discard(page_address(slab, page),
					  (until - page) << rdm_state.page_shift,
					  slab->set->ops->outlives_fork);
		page = next_pinned(slab, until, end, false);
		all &= until == end;
	}
	return all;
}

static bool stays_here(const struct rdm_slab *slab, const uint16_t *pins, size_t page)
{
	return (everything || (pins && pins[page])) && !rdm_stacks_spare(page_address(slab, page));
}

/* The first page from `page` on, before `end`, that stays here or does not. */
static size_t next_staying(const struct rdm_slab *slab, size_t page, size_t end, bool stays)
{
	const uint16_t *pins = pins_of(slab);

	if (!everything && !rdm_stacks_are_spared())
		return next_pinned(slab, page, end, stays);
	while (page < end && stays_here(slab, pins, page) != stays)
		page++;
	return page;
}

bool rdm_pins_next(const struct rdm_slab *slab, char *from, char *end, char **run, size_t *length)
{
	const uint16_t *pins = pins_of(slab);
	size_t page, first, last;

	rdm_assert(from >= slab->base);
	rdm_assert(end <= slab->base + slab->length);
	if (from >= end || (!pins && !everything))
		return false;
	last = page_of(slab, end - 1);
	first = next_staying(slab, page_of(slab, from), last + 1, true);
	page = next_staying(slab, first, last + 1, false);
	if (page == first)
		return false;
	*run = page_address(slab, first) > from ? page_address(slab, first) : from;
	*length = (size_t)((page > last ? end : page_address(slab, page)) - *run);
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

void rdm_pins_forget_stacks(void *block, size_t length)
{
	struct rdm_stack *forgotten;

	rdm_lock_take(&lock);
	forgotten = rdm_stacks_take(block, length);
	rdm_lock_release(&lock);
	rdm_stacks_free(forgotten);
}

void rdm_pins_spare(const void *stack)
{
	if (rdm_reserve_has(stack) &&
	    rdm_pins_any((const char *)stack - RDM_SPARED_BYTES, 2 * RDM_SPARED_BYTES))
		rdm_stacks_spare_at(stack);
}

bool rdm_pins_exist(void)
{
	return __atomic_load_n(&counts.pages, __ATOMIC_RELAXED) != 0;
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
	rdm_pins_spare(stack);
	is_first = first;
}

/* Pages that this fork spares. */
static void advise_spared(const struct rdm_slab *slab, int advice)
{
	const uint16_t *pins = pins_of(slab);

	for (size_t page = 0; pins && rdm_stacks_are_spared() && page < slab->pages; page++)
		if (pins[page] && rdm_stacks_spare(page_address(slab, page))) {
			advise(page_address(slab, page), page_size(), advice);
			if (advice == MADV_DONTFORK)
				rdm_pages_touch(page_address(slab, page), page_size());
		}
}

static void take_out(const struct rdm_slab *slab)
{
	char *end = slab->base + slab->length;
	size_t length;

	rdm_assert(rdm_lock_is_mine(&lock));
	for (char *run = slab->base; rdm_pins_next(slab, run, end, &run, &length); run += length) {
		int error = rdm_ablated(RDM_ABLATE_REASSERT | RDM_ABLATE_DONTFORK) ?
				    0 :
				    advise(run, length, MADV_DONTFORK);

		if (error)
			rdm_log(RDM_LOG_ERROR,
				"fork: MADV_DONTFORK on registered memory failed (%d): its data "
				"can be lost",
				error);
	}
	advise_spared(slab, MADV_DOFORK);
}

void rdm_pins_prefork_set(struct rdm_slab_set *set)
{
	const struct rdm_slab *slab;
	size_t pinned = rdm_present_pinned();

	rdm_assert(rdm_lock_is_mine(&lock));
	rdm_stacks_for_each(rdm_pins_spare);
	/* What is so for a fork that runs stays so until none does. */
	if (is_first)
		everything = pinned > counts.pages + pages_dropped_lately();
	if (is_first && everything && !counts.unseen++)
		rdm_log(RDM_LOG_WARN,
			"fork: %zu pages are pinned, of %zu it is known which: all large blocks are "
			"copied for the child",
			pinned, counts.pages);
	TAILQ_FOREACH (slab, &set->slabs, link)
		take_out(slab);
}

/* Back to what is registered. */
static void put_in(struct rdm_slab *slab)
{
	size_t end;

	if (atomic_load(&slab->pinned_late))
		atomic_store(&slab->pinned_late, false);
	advise_spared(slab, MADV_DONTFORK);
	if (!everything)
		return;
	for (size_t page = 0; page < slab->pages; page = end) {
		page = next_pinned(slab, page, slab->pages, false);
		end = next_pinned(slab, page, slab->pages, true);
		if (end > page)
			advise(page_address(slab, page), (end - page) << rdm_state.page_shift,
			       MADV_DOFORK);
	}
}

void rdm_pins_postfork_parent_set(struct rdm_slab_set *set)
{
	struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link)
		put_in(slab);
}

void rdm_pins_postfork_child_set(struct rdm_slab_set *set)
{
	const struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link)
		if (pins_of(slab) && next_pinned(slab, 0, slab->pages, true) < slab->pages)
			memset(pins_of(slab), 0, slab->pages * sizeof(uint16_t));
}

/* The registrations are the parent's. */
void rdm_pins_postfork_child(void)
{
	rdm_lock_forget_others(&lock);
	if (counts.pages || counts.inside || counts.outside) {
		memset(named, 0, sizeof(named));
		counts = (struct rdm_pin_counts){ 0 };
	}
}
