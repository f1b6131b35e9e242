/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * realloc that changes a block where it is: the books never claim more than the
 * block has, whenever a fork comes, and no block reaches into the next slab,
 * which may be on its way out.
 */
#include "support.h"

#include <errno.h>
#include <string.h>
#include <time.h>

struct rdm_slab_set;

/* The linker sends the library's calls here (--wrap). */
void *__real_rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align);
void *__wrap_rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align);
size_t __real_rdm_je_xallocx(void *ptr, size_t size, size_t extra, int flags);
size_t __wrap_rdm_je_xallocx(void *ptr, size_t size, size_t extra, int flags);

static void (*before)(void), (*after)(void);

size_t __wrap_rdm_je_xallocx(void *ptr, size_t size, size_t extra, int flags)
{
	size_t usable;

	if (before)
		before();
	usable = __real_rdm_je_xallocx(ptr, size, extra, flags);
	if (after)
		after();
	return usable;
}

static struct {
	rdm_pool *pool;
	char *block, *other;
	size_t kept; /* of block, filled with pattern 1 */
} scene;

static const size_t small = T_MIB, large = 4 * T_MIB, other_size = 5 * T_MIB;

static int read_copy(void *arg)
{
	(void)arg;
	T_CHECK(rdm_usable_size(scene.block) == scene.kept);
	T_CHECK(t_pattern_check(scene.block, scene.kept, 1) == scene.kept);
	if (scene.other)
		T_CHECKF(t_pattern_check(scene.other, other_size, 2) == other_size,
			 "the copy of the block after the one that shrinks has a hole at %zu",
			 t_pattern_check(scene.other, other_size, 2));
	rdm_free_sized(scene.block, scene.kept);
	if (scene.other)
		rdm_free_sized(scene.other, other_size);
	T_CHECK(!rdm_pool_destroy(scene.pool));
	return T_PASS;
}

static void fork_now(void)
{
	before = after = NULL;
	t_fork_passes(read_copy, NULL);
}

/* What a shrink leaves goes to another block before rdm_realloc() returns. */
static void take_the_rest(void)
{
	struct rdm_stats stats;

	before = after = NULL;
	scene.other = t_malloc(scene.pool, other_size);
	T_CHECK(scene.other == scene.block + small);
	t_pattern_fill(scene.other, other_size, 2);
	stats = t_stats(scene.pool);
	T_CHECKF(stats.live_blocks == 2 && stats.live_bytes == small + other_size,
		 "%zu blocks of %zu bytes are live", stats.live_blocks, stats.live_bytes);
	fork_now();
}

static void resize_in_place(size_t from, size_t to, void (*first)(void), void (*then)(void))
{
	char *moved;

	scene.pool = t_pool("window", 0, RDM_FORK_COPY, 8 * T_MIB, 0);
	scene.block = t_malloc(scene.pool, from);
	scene.kept = small;
	t_pattern_fill(scene.block, small, 1);
	before = first;
	after = then;
	moved = rdm_realloc(NULL, scene.block, to);
	T_CHECK(!before && !after && moved == scene.block);
	T_CHECK(rdm_usable_size(moved) == to);
	scene.kept = to;
	if (to == large)
		t_pattern_fill(scene.block, large, 1);
	fork_now();
	rdm_free_sized(moved, to);
	if (scene.other)
		rdm_free_sized(scene.other, other_size);
	scene.other = NULL;
	T_CHECK(!rdm_pool_destroy(scene.pool));
}

/* The class of a block is the one of a fresh block of that size, wherever it comes from. */
static void classes(void)
{
	struct t_rng rng = { .state = t_seed() };
	rdm_pool *pool = t_pool("classes", 0, 0, 8 * T_MIB, 0);
	size_t old = 64 * t_page();
	char *block = t_malloc(pool, old);
	unsigned shrunk = 0, grown = 0;

	t_pattern_fill(block, old, 3);
	for (unsigned i = 0; i < 2000; i++) {
		size_t size = t_log_uniform(&rng, 1, 3 * T_MIB);
		size_t least = old < size ? old : size;
		char *moved = rdm_realloc(pool, block, size);
		char *fresh = t_malloc(pool, size);

		T_CHECK(moved && t_pattern_check(moved, least, 3) == least);
		T_CHECK(rdm_usable_size(moved) == rdm_usable_size(fresh));
		shrunk += moved == block && rdm_usable_size(moved) < old;
		grown += moved == block && size > old;
		rdm_free_sized(fresh, size);
		if (i % 8) {
			block = moved;
		} else {
			rdm_free_sized(moved, size);
			block = t_malloc(pool, size);
		}
		old = rdm_usable_size(block);
		t_pattern_fill(block, old, 3);
	}
	rdm_free_sized(block, old);
	T_CHECK(!t_stats(pool).live_blocks && !rdm_pool_destroy(pool));
	t_say("in place: %u shrunk, %u grown", shrunk, grown);
	T_CHECK(shrunk && grown);
}

static _Atomic(bool) stop;
static _Atomic(unsigned long) rounds;

/* Not the wall's time: beside other work both threads come less far in it. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static _Atomic(bool) on_its_way_out;

/* The slab is on its way out, and the other thread is busy beside it. */
static void linger(struct t_recorder *recorder, void *addr, size_t length)
{
	unsigned long enough = rounds + 2;
	double end = now() + 0.002;

	(void)recorder;
	(void)addr;
	(void)length;
	on_its_way_out = true;
	while (rounds < enough && now() < end)
		;
	on_its_way_out = false;
}

/* Gives the slab that a run is continued into the time to go. */
void *__wrap_rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align)
{
	void *run = __real_rdm_slabs_carve(set, at, size, align);
	double end = now() + 0.1;

	if (at && run && on_its_way_out)
		while (rdm_pool_of(run) && now() < end)
			;
	return run;
}

static void *trim_and_reserve(void *pool)
{
	while (!stop) {
		T_CHECK(!rdm_pool_trim(pool, 0));
		T_CHECK(!rdm_pool_reserve(pool, 6 * T_SLAB));
	}
	return NULL;
}

/* Whatever else jemalloc has at hand comes first. */
static char *allocate_at(rdm_pool *pool, const char *place, size_t size)
{
	char *in_the_way[256], *block;
	unsigned n = 0;

	while ((block = t_malloc(pool, size)) != place) {
		T_CHECKF(n < 256, "%p is not to be had", (const void *)place);
		in_the_way[n++] = block;
	}
	while (n)
		rdm_free(in_the_way[--n]);
	return block;
}

/* The block ends where its slab does, and the slab after it comes and goes. */
static void against_trim(double seconds)
{
	static const size_t sizes[] = { 3584 << 10, 448 << 10, 64 << 10 };
	struct t_recorder *recorder = t_recorder_new("recorder");
	rdm_pool *pool = t_pool("against trim", 0, 0, 2 * T_SLAB, 0);
	char *part[3], *far, *anchor, *place;
	double end = now() + seconds;
	pthread_t thread;

	recorder->on_dereg = linger;
	t_recorder_add(recorder, pool);
	for (unsigned i = 0; i < 3; i++)
		part[i] = t_malloc(pool, sizes[i]);
	far = t_malloc(pool, 2 * T_SLAB);
	anchor = t_malloc(pool, 64);
	place = part[2];
	T_CHECK(place + sizes[2] == part[0] + 2 * T_SLAB && far == part[0] + 2 * T_SLAB);
	rdm_free(far);
	T_CHECK(!pthread_create(&thread, NULL, trim_and_reserve, pool));
	for (; now() < end; rounds++) {
		char *moved = rdm_realloc(pool, part[2], 80 << 10);

		T_CHECK(moved && moved != place);
		part[2] = allocate_at(pool, place, sizes[2]);
		rdm_free(moved);
	}
	stop = true;
	T_CHECK(!pthread_join(thread, NULL));
	for (unsigned i = 0; i < 3; i++)
		rdm_free(part[i]);
	rdm_free(anchor);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	t_say("%lu times against %zu trims", rounds, (size_t)recorder->deregs);
	t_recorder_free(recorder);
}

int main(void)
{
	resize_in_place(large, small, NULL, take_the_rest);
	resize_in_place(large, small, fork_now, NULL);
	resize_in_place(small, large, NULL, fork_now);
	classes();
	against_trim(t_quick() ? 0.3 : 1);
	return T_PASS;
}
