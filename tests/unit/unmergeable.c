/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When a slab is registered KSM may not merge its pages, whenever the process has
 * asked for that: before the slab was there, while its neighbours were registered,
 * or before one more rail.
 */
#include "support.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/prctl.h>

#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#endif

#define SLABS 4

static bool on_first; /* the first registration makes the process mergeable */

static bool process_merges(bool merges)
{
	return !prctl(PR_SET_MEMORY_MERGE, merges, 0, 0, 0);
}

/* Whether all mappings of [lo, hi) are out of KSM's reach. */
static bool is_unmergeable(uintptr_t lo, uintptr_t hi)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	uintptr_t begin, end, covered = lo;
	char line[512];
	bool inside = false;

	T_CHECK(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) == 2)
			inside = begin < hi && end > lo;
		else if (inside && !strncmp(line, "VmFlags:", 8) && !strstr(line, " mg"))
			covered += (end < hi ? end : hi) - (begin > lo ? begin : lo);
	}
	fclose(smaps);
	return covered == hi;
}

static void on_reg(struct t_recorder *recorder, void *addr, size_t length)
{
	if (on_first && recorder->regs == 1)
		T_CHECK(process_merges(true));
	else
		T_CHECKF(is_unmergeable((uintptr_t)addr, (uintptr_t)addr + length),
			 "registration %zu: KSM may merge the slab", recorder->regs);
}

static void reserve(rdm_pool *pool)
{
	T_CHECK(!rdm_pool_reserve(pool, SLABS * T_SLAB));
}

static struct t_recorder *add(rdm_pool *pool)
{
	struct t_recorder *recorder = t_recorder_new("ksm");

	recorder->on_reg = on_reg;
	t_recorder_add(recorder, pool);
	return recorder;
}

static void end(rdm_pool *pool, struct t_recorder *recorder)
{
	T_CHECK(recorder->regs == SLABS);
	T_CHECK(!rdm_pool_destroy(pool));
	t_recorder_free(recorder);
	T_CHECK(process_merges(false));
}

static void before(void)
{
	rdm_pool *pool = t_pool("before", RDM_BACKING_ANON, 0, T_SLAB, 0);
	struct t_recorder *recorder = add(pool);

	T_CHECK(process_merges(true));
	reserve(pool);
	end(pool, recorder);
}

static void meanwhile(void)
{
	rdm_pool *pool = t_pool("meanwhile", RDM_BACKING_ANON, 0, T_SLAB, 0);
	struct t_recorder *recorder = add(pool);

	on_first = true;
	reserve(pool);
	on_first = false;
	end(pool, recorder);
}

static void one_more_rail(void)
{
	rdm_pool *pool = t_pool("rail", RDM_BACKING_ANON, 0, T_SLAB, 0);

	reserve(pool);
	T_CHECK(process_merges(true));
	end(pool, add(pool));
}

int main(void)
{
	if (T_SANITIZED)
		t_skip("KSM would walk through all of a sanitizer's shadow");
	if (!process_merges(true))
		t_skip("PR_SET_MEMORY_MERGE: %s (Linux 6.4 with KSM has it)", strerror(errno));
	T_CHECK(process_merges(false));
	before();
	meanwhile();
	one_more_rail();
	return T_PASS;
}
