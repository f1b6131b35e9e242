/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that a fork leaves behind in the middle of rdm_malloc() hold memory that no block accounts
 * for. (In the middle of rdm_free() fork() waits for them.) When the child destroys or resets the
 * pool nothing of it stays a slab, or registered.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct rdm_arena;
struct rdm_want;

/* The linker sends the library's calls here (--wrap). */
void *__real_rdm_arena_alloc(struct rdm_arena *arena, size_t size, size_t align, unsigned *state,
			     struct rdm_want *want);
void *__wrap_rdm_arena_alloc(struct rdm_arena *arena, size_t size, size_t align, unsigned *state,
			     struct rdm_want *want);

enum { THREADS = 3, SPREAD = 64 };

static struct {
	struct t_event inside, go_on;
	_Atomic(void *) caught;
} stopped;
static _Thread_local bool stop_here;

static void stop_with(void *block)
{
	if (!block)
		return;
	stopped.caught = block;
	stop_here = false;
	t_event_set(&stopped.inside);
	t_event_wait(&stopped.go_on);
}

/* The memory is the arena's no more, and the block is not live yet. */
void *__wrap_rdm_arena_alloc(struct rdm_arena *arena, size_t size, size_t align, unsigned *state,
			     struct rdm_want *want)
{
	void *block = __real_rdm_arena_alloc(arena, size, align, state, want);

	if (stop_here)
		stop_with(block);
	return block;
}

static struct {
	rdm_pool *pool;
	struct t_recorder *recorder;
	size_t size;
	char *slab[SPREAD]; /* an address in each granule that may be the pool's */
} scene;

static void *allocate_slowly(void *arg)
{
	(void)arg;
	stop_here = true;
	rdm_free(t_malloc(scene.pool, scene.size));
	return NULL;
}

static void note_slabs(char *first)
{
	for (unsigned i = 0; i < SPREAD; i++)
		scene.slab[i] = first + (size_t)i * T_SLAB;
}

static void expect_nothing_left(const struct t_recorder *own)
{
	for (unsigned i = 0; i < SPREAD; i++)
		T_CHECKF(!rdm_pool_of(scene.slab[i]), "%p is a slab of a pool that is gone",
			 (void *)scene.slab[i]);
	T_CHECK(!stopped.caught || !rdm_pool_of(stopped.caught));
	T_CHECKF(!own->live && own->regs == own->deregs, "%zu registered, %zu deregistered",
		 own->regs, own->deregs);
	T_CHECK(!scene.recorder->deregs);
}

static void expect_use(struct t_recorder *own)
{
	struct rdm_stats stats = t_stats(scene.pool);
	void *block;

	T_CHECK(!stats.inherited && !stats.slabs && !stats.carved_bytes && !stats.quarantined);
	T_CHECKF(stats.registrations == stats.deregistrations + scene.recorder->live,
		 "%llu registrations, %llu deregistrations, %zu of the parent's",
		 (unsigned long long)stats.registrations, (unsigned long long)stats.deregistrations,
		 (size_t)scene.recorder->live);
	t_recorder_add(own, scene.pool);
	block = t_malloc(scene.pool, scene.size);
	memset(block, 1, scene.size);
	T_CHECK(!t_audit(scene.pool));
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !own->live);
}

enum act { DESTROY, ADOPT_DESTROY, RESET, ADOPT_RESET, ACTS };

static int child(void *arg)
{
	enum act act = (enum act)(uintptr_t)arg;
	struct t_recorder *own = t_recorder_new("child");

	if (act == ADOPT_DESTROY || act == ADOPT_RESET) {
		t_recorder_add(own, scene.pool);
		T_CHECK(own->live && !t_audit(scene.pool));
	}
	if (act == DESTROY || act == ADOPT_DESTROY)
		T_CHECKF(!rdm_pool_destroy(scene.pool), "destroy: %s", strerror(errno));
	else
		T_CHECKF(!rdm_pool_reset(scene.pool), "reset: %s", strerror(errno));
	expect_nothing_left(own);
	if (act == RESET || act == ADOPT_RESET)
		expect_use(own);
	t_recorder_free(own);
	return T_PASS;
}

static void fork_in_the_middle(size_t size, unsigned policy)
{
	pthread_t thread;

	scene.size = size;
	scene.recorder = t_recorder_new("parent");
	scene.pool = t_pool("abandoned", 0, policy, T_SLAB, 0);
	t_recorder_add(scene.recorder, scene.pool);
	t_event_init(&stopped.inside);
	t_event_init(&stopped.go_on);
	T_CHECK(!pthread_create(&thread, NULL, allocate_slowly, NULL));
	t_event_wait(&stopped.inside);
	note_slabs(stopped.caught);
	T_CHECK(rdm_pool_of(stopped.caught) == scene.pool);
	T_CHECK(!rdm_usable_size(stopped.caught) && !t_stats(scene.pool).live_blocks);
	for (uintptr_t act = 0; act < ACTS; act++)
		t_fork_passes(child, (void *)act);
	t_event_set(&stopped.go_on);
	T_CHECK(!pthread_join(thread, NULL));
	stopped.caught = NULL;
	t_event_destroy(&stopped.inside);
	t_event_destroy(&stopped.go_on);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !scene.recorder->live);
	t_recorder_free(scene.recorder);
}

static _Atomic(bool) stop;

static void *churn(void *arg)
{
	struct t_rng rng = { .state = (uintptr_t)arg };
	void *kept[SPREAD] = { NULL };

	while (!stop) {
		void **one = &kept[t_below(&rng, SPREAD)];

		rdm_free(*one);
		*one = t_malloc(scene.pool, t_log_uniform(&rng, 1, 40000));
	}
	for (unsigned i = 0; i < SPREAD; i++)
		rdm_free(kept[i]);
	return NULL;
}

/* Threads are left behind wherever they happen to be. */
static void fork_anywhere(unsigned forks)
{
	uint64_t seed = t_seed();
	pthread_t thread[THREADS];
	void *block;

	scene.size = 1000;
	scene.recorder = t_recorder_new("parent");
	scene.pool = t_pool("anywhere", 0, RDM_FORK_COPY, T_SLAB, 0);
	t_recorder_add(scene.recorder, scene.pool);
	block = t_malloc(scene.pool, 1);
	note_slabs(block);
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, churn, (void *)(uintptr_t)(seed + i)));
	for (unsigned i = 0; i < forks; i++)
		t_fork_passes(child, (void *)(uintptr_t)(i % 2 ? RESET : ADOPT_RESET));
	stop = true;
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !scene.recorder->live);
	t_recorder_free(scene.recorder);
}

int main(int argc, char **argv)
{
	static const unsigned policies[] = { RDM_FORK_HOLE, RDM_FORK_ZERO, RDM_FORK_COPY };

	(void)argc;
	/* Where every block goes through the arena, a thread can be stopped there. */
	t_configure(argv, "magazine:0");
	for (unsigned i = 0; i < 3; i++) {
		fork_in_the_middle(100, policies[i]);
		fork_in_the_middle(50000, policies[i]);
		fork_in_the_middle(3 * T_MIB, policies[i]);
	}
	fork_anywhere(t_quick() || T_SANITIZED ? 20 : 200);
	return T_PASS;
}
