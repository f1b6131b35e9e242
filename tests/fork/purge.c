/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork() waits for a thread that returns jemalloc's free runs to the slabs; if
 * it did not, nothing would ever be returned in the child.
 */
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

enum { BLOCKS = 128, BLOCK = 20480 };
/* What a thread may have had in its hands on the way to the arena. */
enum { MOST_LOST = 32 * BLOCK };

struct rdm_arena;
struct rdm_run;

/* The linker sends the library's calls here (--wrap). */
void __real_rdm_arena_free_many(struct rdm_arena *arena, unsigned size_class, void *const *blocks,
				size_t count);
void __wrap_rdm_arena_free_many(struct rdm_arena *arena, unsigned size_class, void *const *blocks,
				size_t count);
void __real_rdm_slabs_uncarve(const struct rdm_run *run, size_t count);
void __wrap_rdm_slabs_uncarve(const struct rdm_run *run, size_t count);

static struct t_meeting meeting;
static _Thread_local bool returning;

void __wrap_rdm_arena_free_many(struct rdm_arena *arena, unsigned size_class, void *const *blocks,
				size_t count)
{
	returning = true;
	__real_rdm_arena_free_many(arena, size_class, blocks, count);
	returning = false;
}

void __wrap_rdm_slabs_uncarve(const struct rdm_run *run, size_t count)
{
	__real_rdm_slabs_uncarve(run, count);
	if (count && returning)
		t_meeting_stay(&meeting);
}

/* Frees what nobody will want, and goes on with others until somebody returns it. */
static void *waste(void *pool)
{
	t_malloc_and_free(pool, BLOCK, BLOCKS);
	while (meeting.armed) {
		rdm_thread_flush();
		rdm_free(t_malloc(pool, 2 * BLOCK));
	}
	return NULL;
}

static int child(void *pool)
{
	struct t_recorder *own = t_recorder_new("child");

	t_recorder_add(own, pool);
	t_malloc_and_free(pool, BLOCK, BLOCKS);
	T_CHECK(!rdm_pool_trim(pool, 0));
	T_CHECKF(t_stats(pool).carved_bytes <= MOST_LOST, "jemalloc keeps %zu bytes for ever",
		 (size_t)t_stats(pool).carved_bytes);
	return T_PASS;
}

int main(void)
{
	struct t_recorder *recorder = t_recorder_new("parent");
	rdm_pool *pool = t_pool("purge", 0, RDM_FORK_COPY, 0, 0);
	pthread_t thread;

	t_recorder_add(recorder, pool);
	t_meeting_init(&meeting);
	T_CHECK(!pthread_create(&thread, NULL, waste, pool));
	t_meeting_come(&meeting);
	t_fork_passes(child, pool);
	t_meeting_through(&meeting);
	T_CHECK(!pthread_join(thread, NULL));
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_recorder_free(recorder);
	return T_PASS;
}
