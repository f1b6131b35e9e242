/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block that is freed twice is found out wherever it is by then: in the
 * thread's own magazine, in another's, in the depot, in the arena. So are
 * pointers that never were blocks, and sizes of another class.
 */
#include "support.h"

#include <limits.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size_class.h"

#define FREED "freed already"
#define FOREIGN "not a pointer of any pool"
#define INSIDE "inside a block"
#define SIZE "the block has"

static rdm_pool *pool;
static const size_t block_sizes[] = { 1, 64, 65, 512, 4096, 5000, 65536, T_MIB, 6 * T_MIB };

static void *free_it(void *block)
{
	rdm_free(block);
	return NULL;
}

static struct {
	struct t_event freed;
	void *block;
} sleeper;

static void *free_and_sleep(void *block)
{
	rdm_free(block);
	t_event_set(&sleeper.freed);
	for (;;)
		pause();
	return NULL;
}

/* Each puts a block where its name says. */
static void into_own_magazine(void *block)
{
	rdm_free(block);
}

static void into_depot(void *block)
{
	rdm_free(block);
	rdm_thread_flush();
}

static void into_depot_at_exit(void *block)
{
	pthread_t thread;

	T_CHECK(!pthread_create(&thread, NULL, free_it, block));
	T_CHECK(!pthread_join(thread, NULL));
}

static void into_other_magazine(void *block)
{
	pthread_t thread;

	t_event_init(&sleeper.freed);
	T_CHECK(!pthread_create(&thread, NULL, free_and_sleep, block));
	t_event_wait(&sleeper.freed);
}

static void into_arena(void *block)
{
	rdm_free(block);
	T_CHECK(!rdm_pool_trim(pool, SIZE_MAX));
}

static void (*const places[])(void *) = { into_own_magazine, into_depot, into_depot_at_exit,
					  into_other_magazine, into_arena };
enum { PLACES = sizeof(places) / sizeof(places[0]) };

/* What a child does wrong, and must not come back from. */
struct wrong {
	size_t size; /* of the block */
	void (*hide)(void *block);
	void (*act)(void *p, size_t argument);
	size_t argument;
	ptrdiff_t off; /* of p in the block */
};

/* The pointer that a child acts on; its parent sees it. */
static void **acted_on;

static int do_wrong(void *arg)
{
	const struct wrong *wrong = arg;
	char *block;

	pool = t_pool("bad", 0, 0, 0, 0);
	/* So that the slab stays. */
	T_CHECK(t_malloc(pool, 64));
	block = t_malloc(pool, wrong->size);
	*acted_on = block + wrong->off;
	if (wrong->hide)
		wrong->hide(block);
	wrong->act(*acted_on, wrong->argument);
	return T_PASS;
}

static void catch_death(int (*fn)(void *arg), struct wrong *wrong, const char *word)
{
	struct t_caught caught;

	t_catch(&caught, fn, wrong);
	T_CHECKF(WIFSIGNALED(caught.status),
		 "%td bytes into a block of %zu, with %zu: nothing was found out: %#x: %s",
		 wrong->off, wrong->size, wrong->argument, caught.status, caught.err);
	t_caught_abort(&caught, *acted_on, word);
}

static void expect_death(struct wrong wrong, const char *word)
{
	catch_death(do_wrong, &wrong, word);
}

static void act_free(void *p, size_t argument)
{
	(void)argument;
	rdm_free(p);
}

static void act_free_sized(void *p, size_t size)
{
	rdm_free_sized(p, size);
}

static void act_realloc(void *p, size_t size)
{
	(void)!rdm_realloc(NULL, p, size);
}

static void twice(void)
{
	for (unsigned i = 0; i < sizeof(block_sizes) / sizeof(block_sizes[0]); i++)
		for (unsigned place = 0; place < PLACES; place++) {
			struct wrong wrong = { .size = block_sizes[i],
					       .hide = places[place],
					       .act = act_free,
					       .argument = block_sizes[i] };
			expect_death(wrong, FREED);
			wrong.act = act_free_sized;
			expect_death(wrong, FREED);
			wrong.act = act_realloc;
			expect_death(wrong, FREED);
		}
}

static void inside(void)
{
	static const struct {
		size_t size;
		ptrdiff_t off;
	} cases[] = {
		{ 65, 64 },      { 65, 1 },         { 5000, 64 },          { 5000, 4096 },
		{ 5000, 4097 },  { 65536, 4096 },   { 65536, 65535 },      { 65536, 65472 },
		{ 65536, 8192 }, { T_MIB, 524288 }, { 6 * T_MIB, T_SLAB }, { 6 * T_MIB, 5 * T_MIB },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wrong wrong = { .size = cases[i].size,
				       .off = cases[i].off,
				       .act = act_free,
				       .argument = cases[i].size };

		expect_death(wrong, INSIDE);
		wrong.act = act_free_sized;
		expect_death(wrong, INSIDE);
	}
}

/* Elsewhere in the reserve, as far as it goes, and outside. */
static void foreign(void)
{
	static const ptrdiff_t offs[] = { (ptrdiff_t)64 * T_SLAB,    (ptrdiff_t)1 << 34,
					  ((ptrdiff_t)1 << 34) + 64, ((ptrdiff_t)1 << 34) + 1,
					  -((ptrdiff_t)1 << 40),     (ptrdiff_t)1 << 45 };

	for (unsigned i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
		struct wrong wrong = { .size = 100, .off = offs[i], .act = act_free };

		expect_death(wrong, FOREIGN);
		wrong.act = act_free_sized;
		wrong.argument = 100;
		expect_death(wrong, FOREIGN);
	}
}

/* All that rdm_free_sized() could take for the class of a block, and more. */
static void sizes_of_other_classes(void)
{
	static const size_t wrong_sizes[] = { 0, 1, 64, 65, 512, 513, 4096, 4097, 65536, 65537 };

	for (unsigned i = 0; i < sizeof(block_sizes) / sizeof(block_sizes[0]); i++) {
		struct wrong wrong = { .size = block_sizes[i], .act = act_free_sized };

		for (unsigned k = 0; k < sizeof(wrong_sizes) / sizeof(wrong_sizes[0]); k++) {
			wrong.argument = wrong_sizes[k];
			if (rdm_class_of(wrong_sizes[k]) != rdm_class_of(block_sizes[i]))
				expect_death(wrong, SIZE);
		}
	}
}

/* Sizes beyond the largest class, of numbers that a state byte could hold. */
static void sizes_of_no_class(void)
{
	static const size_t blocks[] = { 64, 5000, T_MIB };

	for (unsigned i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		struct wrong wrong = { .size = blocks[i], .act = act_free_sized };

		for (unsigned shift = 39; shift < 64; shift++) {
			wrong.argument = (size_t)1 << shift;
			expect_death(wrong, SIZE);
			wrong.argument = ((size_t)1 << shift) + 1;
			expect_death(wrong, SIZE);
			wrong.argument = (size_t)7 << (shift - 2);
			if (wrong.argument > (size_t)448 << 30)
				expect_death(wrong, SIZE);
		}
		wrong.argument = ((size_t)448 << 30) + 1;
		expect_death(wrong, SIZE);
		wrong.argument = SIZE_MAX;
		expect_death(wrong, SIZE);
	}
}

/*
 * In a thread's last destructors a block bypasses jemalloc: its state is one more
 * than 127, and so are the classes of sizes that nobody can have.
 */
static pthread_key_t late_key;
static const struct wrong *late;
static _Atomic(unsigned) bypasses;

static void act_late(void *arg)
{
	uintptr_t rounds = (uintptr_t)arg;
	char *block = t_malloc(pool, late->size), *other = t_malloc(pool, late->size);

	if (rounds > 1)
		T_CHECK(!pthread_setspecific(late_key, (void *)(rounds - 1)));
	if ((uintptr_t)block % t_page() || (uintptr_t)other % t_page())
		return;
	bypasses++;
	*acted_on = block + late->off;
	if (late->hide)
		late->hide(block);
	late->act(*acted_on, late->argument);
}

static void *set_late_key(void *arg)
{
	(void)arg;
	rdm_free(t_malloc(pool, 64));
	T_CHECK(!pthread_setspecific(late_key, (void *)(uintptr_t)PTHREAD_DESTRUCTOR_ITERATIONS));
	return NULL;
}

static int do_late(void *arg)
{
	pthread_t thread;

	late = arg;
	pool = t_pool("late", 0, 0, 0, 0);
	T_CHECK(t_malloc(pool, 64));
	T_CHECK(!pthread_key_create(&late_key, act_late));
	T_CHECK(!pthread_create(&thread, NULL, set_late_key, NULL));
	T_CHECK(!pthread_join(thread, NULL));
	T_CHECKF(bypasses, "no block has bypassed jemalloc");
	return T_PASS;
}

static void expect_late_death(struct wrong wrong, const char *word)
{
	catch_death(do_late, &wrong, word);
}

static void blocks_of_dying_threads(void)
{
	struct wrong wrong = { .size = 64, .act = act_free_sized, .argument = 64 };

	t_fork_passes(do_late, &wrong);
	/* Number 128 + 1. */
	wrong.argument = (size_t)640 << 30;
	expect_late_death(wrong, SIZE);
	wrong.argument = 65;
	expect_late_death(wrong, SIZE);
	wrong.argument = SIZE_MAX;
	expect_late_death(wrong, SIZE);
	wrong.hide = into_own_magazine;
	wrong.argument = 64;
	expect_late_death(wrong, FREED);
	wrong.act = act_free;
	expect_late_death(wrong, FREED);
	wrong.hide = NULL;
	wrong.off = 32;
	expect_late_death(wrong, INSIDE);
}

int main(void)
{
	acted_on = mmap(NULL, sizeof(*acted_on), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	T_CHECK(acted_on != MAP_FAILED);
	twice();
	inside();
	foreign();
	sizes_of_other_classes();
	sizes_of_no_class();
	blocks_of_dying_threads();
	return T_PASS;
}
