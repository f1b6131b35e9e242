/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Contracts of the library's own that are broken on purpose: each ends the process, with one
 * line that says what should be. In builds that do not check them they cannot be seen.
 */
#include "support.h"

#include <string.h>
#include <sys/wait.h>

#include "memory/keys.h"
#include "memory/slab_map.h"
#include "pool/pool.h"
#include "slab/live.h"
#include "slab/registration.h"
#include "sync/lock.h"
#include "sync/quiesce.h"

static rdm_pool *pool;
static char *block;

static struct rdm_slab *slab(void)
{
	return rdm_slab_of(block);
}

static void take_an_outer_lock(void)
{
	rdm_slabs_lock(&pool->slabs);
	rdm_quiesce_enter("test");
}

static void take_a_lock_twice(void)
{
	rdm_slabs_lock(&pool->slabs);
	rdm_slabs_lock(&pool->slabs);
}

static void release_a_lock_of_nobodys(void)
{
	rdm_slabs_unlock(&pool->slabs);
}

static void enter_jemalloc_with_a_leaf(void)
{
	rdm_slabs_lock(&pool->slabs);
	rdm_free(rdm_aligned_alloc(pool, T_MIB, T_MIB));
}

static void take_addresses_without_the_lock(void)
{
	rdm_reserve_take(RDM_GRANULE, RDM_GRANULE);
}

static void look_for_blocks_without_the_lock(void)
{
	size_t bytes;

	rdm_live_count(slab(), &bytes);
}

static void release_a_slab_in_use(void)
{
	rdm_quiesce_enter("test");
	rdm_slabs_destroy(&pool->slabs);
}

static void let_two_books_differ(void)
{
	rdm_quiesce_enter("test");
	rdm_keys_clear(0, slab()->base, slab()->length);
	rdm_quiesce_leave(0);
	t_audit(pool);
}

static void uncarve_twice(void)
{
	struct rdm_run run = { .at = slab()->base, .size = slab()->length };

	rdm_slabs_uncarve(&run, 1);
	rdm_slabs_uncarve(&run, 1);
}

static int run_case(void *arg)
{
	void (*const *broken)(void) = arg;
	struct t_recorder *rail = t_recorder_new("contracts");

	pool = t_pool("contracts", 0, 0, T_SLAB, 0);
	T_CHECK(!t_recorder_add(rail, pool));
	block = t_malloc(pool, 100);
	(*broken)();
	return T_PASS;
}

static void ends_the_process(const char *what, void (*broken)(void))
{
	struct t_caught caught;

	t_catch(&caught, run_case, &broken);
	T_CHECKF(WIFSIGNALED(caught.status) && WTERMSIG(caught.status) == SIGABRT,
		 "%s: status %#x is no SIGABRT; it said: %s", what, caught.status, caught.err);
	T_CHECKF(t_lines(caught.err) == 1 && strstr(caught.err, "it should be that"),
		 "%s: it said: %s", what, caught.err);
}

#define ENDS(broken) ends_the_process(#broken, broken)

int main(void)
{
#ifndef RDM_CHECKING
	t_skip("contracts are checked in builds with --enable-checking");
#endif
	ENDS(take_an_outer_lock);
	ENDS(take_a_lock_twice);
	ENDS(release_a_lock_of_nobodys);
	ENDS(enter_jemalloc_with_a_leaf);
	ENDS(take_addresses_without_the_lock);
	ENDS(look_for_blocks_without_the_lock);
	ENDS(release_a_slab_in_use);
	ENDS(let_two_books_differ);
	ENDS(uncarve_twice);
	return 0;
}
