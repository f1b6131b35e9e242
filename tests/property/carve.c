/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Carving against a plain model, page by page: the run with the lowest address
 * is found, no run that is there is missed, none crosses a slab or overlaps
 * another, and trim returns the idle slabs from the end.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "api/create.h"
#include "fork/fork.h"
#include "sync/quiesce.h"
#include "slab/slab.h"
#include "memory/state.h"

enum { MOST_SLABS = 400, MOST_RUNS = 4000 };

struct model_slab {
	char *base;
	size_t pages;
	bool *carved;
};

struct run {
	char *at;
	size_t pages;
};

static struct rdm_slab_set set;
static struct model_slab slab[MOST_SLABS];
static unsigned slabs;
static struct run run[MOST_RUNS];
static unsigned runs;
static struct t_rng rng;
static unsigned long carved, refused, continued, trimmed;

static size_t page(void)
{
	return (size_t)1 << rdm_state.page_shift;
}

static size_t model_bytes(void)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < slabs; i++)
		bytes += slab[i].pages * page();
	return bytes;
}

/* Finds out where the new slab is, and keeps the model in the order of addresses. */
static void add(void)
{
	size_t length = T_SLAB << (t_below(&rng, 8) ? t_below(&rng, 2) : t_below(&rng, 5));
	size_t align = T_SLAB << t_below(&rng, 3);
	struct rdm_slab *made;
	unsigned i = 0;

	if (slabs == MOST_SLABS)
		return;
	T_CHECK(!rdm_slabs_add(&set, length, align));
	TAILQ_FOREACH (made, &set.slabs, link) {
		if (i == slabs || slab[i].base != made->base)
			break;
		i++;
	}
	T_CHECK(made && made->length == length && !((uintptr_t)made->base % align));
	T_CHECK(made->set == &set && !((uintptr_t)made % RDM_CACHE_LINE));
	memmove(&slab[i + 1], &slab[i], (slabs - i) * sizeof(slab[0]));
	slab[i] = (struct model_slab){ .base = made->base, .pages = length / page() };
	slab[i].carved = calloc(slab[i].pages, 1);
	T_CHECK(slab[i].carved);
	slabs++;
	for (i = 1; i < slabs; i++)
		T_CHECK(slab[i - 1].base < slab[i].base);
}

static bool fits(const struct model_slab *in, size_t first, size_t pages)
{
	if (first + pages > in->pages)
		return false;
	for (size_t i = first; i < first + pages; i++)
		if (in->carved[i])
			return false;
	return true;
}

static char *find_slowly(size_t pages, size_t align)
{
	for (unsigned i = 0; i < slabs; i++)
		for (size_t first = 0; first + pages <= slab[i].pages; first++) {
			char *at = slab[i].base + first * page();

			if (!((uintptr_t)at & (align - 1)) && fits(&slab[i], first, pages))
				return at;
		}
	return NULL;
}

/* Marks a run and checks that it lies, free before, in one slab. */
static void mark(char *at, size_t pages, bool value)
{
	for (unsigned i = 0; i < slabs; i++) {
		size_t first = (size_t)(at - slab[i].base) / page();

		if (at < slab[i].base || first >= slab[i].pages)
			continue;
		T_CHECKF(!value || fits(&slab[i], first, pages), "%p + %zu pages is not free",
			 (void *)at, pages);
		memset(slab[i].carved + first, value, pages);
		return;
	}
	t_fail(__FILE__, __LINE__, "%p is in no slab", (void *)at);
}

static size_t some_pages(void)
{
	return t_log_uniform(&rng, 1, T_SLAB << t_below(&rng, 3)) / page() + 1;
}

static void carve(void)
{
	size_t pages = t_below(&rng, 3) ? 1 + t_below(&rng, 20) : some_pages();
	size_t align = t_below(&rng, 4) ? 1 : page() << t_below(&rng, 11);
	char *expected, *at;

	if (runs == MOST_RUNS)
		return;
	expected = find_slowly(pages, align);
	T_CHECK(rdm_slabs_can_carve(&set, pages * page(), align) == (expected != NULL));
	at = rdm_slabs_carve(&set, NULL, pages * page(), align);
	if (!expected) {
		T_CHECKF(!at, "%zu pages aligned to %zu at %p", pages, align, (void *)at);
		refused++;
		return;
	}
	T_CHECKF(at, "%zu pages aligned to %zu are free at %p", pages, align, (void *)expected);
	T_CHECKF(at == expected || align > page(), "%zu pages at %p, free at %p", pages, (void *)at,
		 (void *)expected);
	T_CHECK(!((uintptr_t)at & (align - 1)));
	mark(at, pages, true);
	run[runs++] = (struct run){ at, pages };
	carved++;
}

static void carve_on(void)
{
	struct run *before;
	size_t pages = 1 + t_below(&rng, 30);
	bool expected = false;
	char *at;

	if (!runs)
		return;
	before = &run[t_below(&rng, runs)];
	at = before->at + before->pages * page();
	for (unsigned i = 0; i < slabs; i++)
		if (before->at >= slab[i].base && at < slab[i].base + slab[i].pages * page())
			expected |= fits(&slab[i], (size_t)(at - slab[i].base) / page(), pages);
	T_CHECK(rdm_slabs_carve(&set, at, pages * page(), 1) == (expected ? at : NULL));
	if (!expected)
		return;
	mark(at, pages, true);
	before->pages += pages;
	continued++;
}

/* All of a run, or what jemalloc may leave of it when it splits one. */
static void uncarve(void)
{
	unsigned i = (unsigned)t_below(&rng, runs ? runs : 1);
	size_t pages;

	if (!runs)
		return;
	pages = t_below(&rng, 4) ? run[i].pages : 1 + t_below(&rng, run[i].pages);
	rdm_slabs_uncarve(&(struct rdm_run){ .at = run[i].at, .size = pages * page() }, 1);
	mark(run[i].at, pages, false);
	run[i].at += pages * page();
	run[i].pages -= pages;
	if (!run[i].pages)
		run[i] = run[--runs];
}

static void trim(void)
{
	size_t keep = t_below(&rng, model_bytes() + T_SLAB), bytes = model_bytes();

	T_CHECK(!rdm_slabs_trim(&set, keep));
	for (unsigned i = slabs; i--;) {
		size_t length = slab[i].pages * page();

		if (!fits(&slab[i], 0, slab[i].pages) || bytes - length < keep)
			continue;
		bytes -= length;
		free(slab[i].carved);
		memmove(&slab[i], &slab[i + 1], (--slabs - i) * sizeof(slab[0]));
		trimmed++;
	}
}

static void check(void)
{
	struct rdm_slab *other;
	size_t taken = 0;
	unsigned i = 0;

	TAILQ_FOREACH (other, &set.slabs, link) {
		T_CHECK(i < slabs && other->base == slab[i].base);
		for (size_t p = 0; p < slab[i].pages; p++)
			taken += slab[i].carved[p];
		i++;
	}
	T_CHECK(i == slabs && set.bytes == model_bytes() && set.carved_pages == taken);
}

static void forget(void)
{
	rdm_slabs_uncarve_all(&set);
	for (unsigned i = 0; i < slabs; i++)
		memset(slab[i].carved, 0, slab[i].pages);
	runs = 0;
}

/* In phases that mostly fill, and that mostly empty, with few or many slabs. */
static void play(unsigned steps)
{
	unsigned filling = 50, growing = 1;

	for (unsigned i = 0; i < steps; i++) {
		unsigned dice = (unsigned)t_below(&rng, 100);

		if (i % 500 == 0) {
			filling = 20 + (unsigned)t_below(&rng, 60);
			growing = 1 + (unsigned)t_below(&rng, 5);
			check();
		}
		if (dice < filling)
			carve();
		else
			uncarve();
		if (dice < growing)
			add();
		if (dice % 10 == 0)
			carve_on();
		if (dice == 99 && !t_below(&rng, 4))
			trim();
		if (dice == 98 && !t_below(&rng, 100))
			forget();
	}
}

int main(void)
{
	rng.state = t_seed();
	/* No memory for slabs that nobody writes to. */
	setenv("RDMALLOC_ABLATE", "write", 1);
	rdm_fork_init();
	T_CHECK(rdm_quiesce_enter("carve"));
	T_CHECK(!rdm_slabs_open_reserve(false));
	set.kind.pages = RDM_PAGES_BASE;
	set.kind.node = -1;
	set.ops = &rdm_registered_ops;
	rdm_slabs_init(&set, NULL, NULL);
	play(t_quick() ? 20000 : 100000);
	forget();
	trim();
	check();
	T_CHECK(!rdm_slabs_trim(&set, 0) && !set.bytes && TAILQ_EMPTY(&set.slabs));
	rdm_slabs_destroy(&set);
	T_CHECK(!rdm_quiesce_leave(0));
	t_say("%lu runs carved, %lu refused, %lu continued; %lu slabs trimmed", carved, refused,
	      continued, trimmed);
	T_CHECK(carved && refused && continued && trimmed);
	return T_PASS;
}
