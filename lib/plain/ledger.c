/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/ledger.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract.h"
#include "base/page.h"
#include "fork/fork.h"
#include "memory/meta.h"
#include "sync/gate.h"
#include "sync/lock.h"

#define BUCKETS 4096

LIST_HEAD(bucket, rdm_pin);
static struct bucket named[BUCKETS], announced[BUCKETS], open;
/* Of those. */
static size_t pages_named, pages_announced, pages_open;

/* A kernel may take its time to unpin what has ended. */
#define LATELY_MS 200
enum { LATELY = 16 };
static struct {
	uint32_t at;
	size_t pages;
} ended[LATELY];
static unsigned ends;

/* The kernel's rule: a range without a byte has the page that it is inside of. */
size_t rdm_ledger_pages_of(const void *addr, size_t length)
{
	return rdm_page_up((size_t)((const char *)addr - rdm_page_start(addr)) + length) >>
	       rdm_page_shift();
}

static size_t pages_of(const struct rdm_pin *pin)
{
	return rdm_ledger_pages_of(pin->addr, pin->length);
}

static void add_to(size_t *pages, size_t more)
{
	__atomic_store_n(pages, *pages + more, __ATOMIC_RELAXED);
}

static void take_from(size_t *pages, size_t less)
{
	rdm_assert(*pages >= less);
	__atomic_store_n(pages, *pages - less, __ATOMIC_RELAXED);
}

size_t rdm_ledger_pages(void)
{
	return __atomic_load_n(&pages_named, __ATOMIC_RELAXED) +
	       __atomic_load_n(&pages_announced, __ATOMIC_RELAXED) +
	       __atomic_load_n(&pages_open, __ATOMIC_RELAXED);
}

/* Entries for who registers while fork() runs and will not wait for its end. */
#define SPARES 64
static struct rdm_pin spares[SPARES];
static atomic_bool spare_is_used[SPARES];

static struct rdm_pin *take_spare(void)
{
	for (unsigned i = 0; i < SPARES; i++)
		if (!atomic_exchange(&spare_is_used[i], true)) {
			spares[i] = (struct rdm_pin){ 0 };
			return &spares[i];
		}
	return NULL;
}

/* NULL: no memory, or no spare one. */
static struct rdm_pin *new_entry(void)
{
	struct rdm_pin *pin = NULL;
	unsigned closings;
	bool closed;

	do {
		rdm_fork_await();
		closings = rdm_gate_closings();
		closed = rdm_gate_is_closed();
		pin = rdm_meta_alloc(sizeof(*pin));
		if (!pin && rdm_gate_is_closed())
			return take_spare();
		/* A fork that is over by now was in the way. */
	} while (!pin && (closed || closings != rdm_gate_closings()));
	return pin;
}

struct rdm_pin *rdm_ledger_entry(void *addr, size_t length)
{
	struct rdm_pin *pin = new_entry();

	if (!pin)
		return NULL;
	pin->addr = addr;
	pin->length = length;
	return pin;
}

void rdm_ledger_free(struct rdm_pin *pin)
{
	if (pin >= spares && pin < spares + SPARES)
		atomic_store(&spare_is_used[pin - spares], false);
	else
		rdm_meta_free(pin);
}

static void has_ended(size_t pages)
{
	ended[ends % LATELY].at = rdm_clock_ms();
	ended[ends++ % LATELY].pages = pages;
}

void rdm_ledger_open(struct rdm_pin *pin)
{
	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	LIST_INSERT_HEAD(&open, pin, link);
	add_to(&pages_open, pages_of(pin));
}

void rdm_ledger_close(struct rdm_pin *pin)
{
	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	LIST_REMOVE(pin, link);
	take_from(&pages_open, pages_of(pin));
	has_ended(pages_of(pin));
}

static struct bucket *bucket_of(const void *handle)
{
	return &named[((uintptr_t)handle >> 4 ^ (uintptr_t)handle >> 16) % BUCKETS];
}

void rdm_ledger_name(struct rdm_pin *pin, const void *handle)
{
	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	rdm_assert(handle);
	pin->handle = handle;
	LIST_REMOVE(pin, link);
	take_from(&pages_open, pages_of(pin));
	LIST_INSERT_HEAD(bucket_of(handle), pin, link);
	add_to(&pages_named, pages_of(pin));
}

struct rdm_pin *rdm_ledger_take(const void *handle)
{
	struct rdm_pin *pin;

	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	LIST_FOREACH (pin, bucket_of(handle), link)
		if (pin->handle == handle)
			break;
	if (!pin)
		return NULL;
	LIST_REMOVE(pin, link);
	take_from(&pages_named, pages_of(pin));
	rdm_ledger_open(pin);
	return pin;
}

static struct bucket *announced_at(uintptr_t start)
{
	return &announced[(start >> rdm_page_shift() ^ start >> 24) % BUCKETS];
}

/* Announced ranges are whole pages. */
static void widen(struct rdm_pin *pin)
{
	size_t pages = pages_of(pin);

	pin->addr = rdm_page_start(pin->addr);
	pin->length = pages << rdm_page_shift();
}

static struct rdm_pin *find_exactly(const char *addr, size_t length)
{
	struct rdm_pin *pin;

	LIST_FOREACH (pin, announced_at((uintptr_t)addr), link)
		if (pin->addr == addr && pin->length == length)
			return pin;
	return NULL;
}

static struct rdm_pin *add_announced(struct rdm_pin *pin)
{
	struct rdm_pin *same;

	widen(pin);
	add_to(&pages_announced, pages_of(pin));
	same = find_exactly(pin->addr, pin->length);
	if (same) {
		same->times++;
		return pin;
	}
	pin->times = 1;
	LIST_INSERT_HEAD(announced_at((uintptr_t)pin->addr), pin, link);
	return NULL;
}

struct rdm_pin *rdm_ledger_announce(struct rdm_pin *pin)
{
	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	LIST_REMOVE(pin, link);
	take_from(&pages_open, pages_of(pin));
	return add_announced(pin);
}

/* The one that starts first of those that have a page there. */
static struct rdm_pin *find_first(const char *from, const char *end)
{
	struct rdm_pin *first = NULL, *pin;

	for (unsigned i = 0; i < BUCKETS; i++)
		LIST_FOREACH (pin, &announced[i], link)
			if (pin->addr < end && from < pin->addr + pin->length &&
			    (!first || pin->addr < first->addr))
				first = pin;
	return first;
}

/* What sticks out of the part that is withdrawn. */
static void keep_part(struct rdm_pin *spare[RDM_LEDGER_SPARES], char *addr, size_t length)
{
	unsigned i = 0;

	if (!length)
		return;
	while (i < RDM_LEDGER_SPARES && !spare[i])
		i++;
	/* Nobody can withdraw it then: it stays pinned, and uncounted. */
	if (i == RDM_LEDGER_SPARES)
		return;
	spare[i]->addr = addr;
	spare[i]->length = length;
	spare[i] = add_announced(spare[i]);
}

bool rdm_ledger_withdraw(char *from, char *end, struct rdm_pin *spare[RDM_LEDGER_SPARES],
			 char **run, size_t *length)
{
	struct rdm_pin *pin = find_exactly(from, (size_t)(end - from));
	char *start, *stop;

	rdm_assert(rdm_lock_has_rank(RDM_RANK_PINS));
	rdm_assert(rdm_page_start(from) == from && rdm_page_start(end) == end);
	pin = pin ? pin : find_first(from, end);
	if (!pin)
		return false;
	start = pin->addr;
	stop = pin->addr + pin->length;
	*run = start > from ? start : from;
	*length = (size_t)((stop < end ? stop : end) - *run);
	take_from(&pages_announced, pages_of(pin));
	has_ended(*length >> rdm_page_shift());
	if (!--pin->times) {
		LIST_REMOVE(pin, link);
		rdm_assert(!spare[0]);
		spare[0] = pin;
	}
	keep_part(spare, start, (size_t)(*run - start));
	keep_part(spare, *run + *length, (size_t)(stop - *run) - *length);
	return true;
}

/*
 * Which sums of pages there are: what the kernel counts must be one. The table is touched as
 * far as a sum goes that is in question, which is not far but for who registers very much.
 */
#define SUMS ((size_t)1 << 20)
/* Steps that are worth it before all is taken for a stranger's. */
#define STEPS_MAX ((size_t)1 << 23)
static uint64_t sums[SUMS / 64];
static size_t goal, steps;

static bool begin_sums(size_t pages)
{
	if (pages >= SUMS)
		return false;
	goal = pages;
	steps = 0;
	memset(sums, 0, (goal / 64 + 1) * sizeof(*sums));
	sums[0] = 1;
	return true;
}

/* One more number, which is in a sum or is not. */
static void sum_with(size_t pages)
{
	size_t words = pages / 64, bits = pages % 64;

	if (!pages || pages > goal || steps > STEPS_MAX)
		return;
	for (size_t i = goal / 64 + 1; i-- > words;) {
		uint64_t more = sums[i - words] << bits;

		if (bits && i > words)
			more |= sums[i - words - 1] >> (64 - bits);
		sums[i] |= more;
	}
	steps += goal / 64 + 1 - words;
}

static bool is_sum(void)
{
	return sums[goal / 64] >> goal % 64 & 1;
}

static void sum_with_all(const struct bucket *bucket)
{
	const struct rdm_pin *pin;

	LIST_FOREACH (pin, bucket, link)
		for (size_t i = 0; i < (pin->times ? pin->times : 1) && i <= goal; i++)
			sum_with(pages_of(pin));
}

/* What the kernel may count or not. */
static void sum_with_optional(void)
{
	uint32_t now = rdm_clock_ms();

	for (unsigned i = 0; i < LATELY; i++)
		if (ended[i].pages && now - ended[i].at < LATELY_MS)
			sum_with(ended[i].pages);
	sum_with_all(&open);
	for (unsigned i = 0; i < BUCKETS; i++)
		sum_with_all(&announced[i]);
}

bool rdm_ledger_explains(size_t pinned)
{
	if (!pinned || pinned == rdm_ledger_pages() || pinned == pages_named)
		return true;
	if (pinned >= pages_named) {
		if (!begin_sums(pinned - pages_named))
			return false;
		sum_with_optional();
		return is_sum();
	}
	/* Some registrations are of memory that the kernel does not count: a graphics card's. */
	if (!begin_sums(pinned))
		return false;
	sum_with_optional();
	for (unsigned i = 0; i < BUCKETS; i++)
		sum_with_all(&named[i]);
	return is_sum();
}

void rdm_ledger_forget(void)
{
	if (!rdm_ledger_pages())
		return;
	memset(named, 0, sizeof(named));
	memset(announced, 0, sizeof(announced));
	memset(ended, 0, sizeof(ended));
	LIST_INIT(&open);
	pages_named = pages_announced = pages_open = 0;
}
