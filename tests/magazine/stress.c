/* SPDX-License-Identifier: BSD-2-Clause */
#include "stress.h"

#include <string.h>

enum { SLOTS = 96, BOXES = 64, SPURT = 24 };

/* What a block begins with. */
struct stamp {
	uint64_t id;
	size_t size;
	void *self;
};

struct worker {
	pthread_t thread;
	struct t_rng rng;
	struct stamp *block[SLOTS];
	uint64_t id[SLOTS];
};

static const struct stress *stress;
static struct worker workers[STRESS_WORKERS];
static _Atomic(struct stamp *) boxes[BOXES];
static _Atomic(uint64_t) next_id;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned resting;
static bool over;

static const size_t sizes[] = { 64,   64,   128,   192,   512,   1000,  2048,
				4096, 5000, 20000, 65536, 70000, 300000 };

static uint64_t *tail_of(struct stamp *block)
{
	return (uint64_t *)(void *)((char *)block + ((block->size - 8) & ~(size_t)7));
}

static struct stamp *get(rdm_pool *pool, size_t size)
{
	struct stamp *block = t_malloc(pool, size);

	*block = (struct stamp){ .id = ++next_id, .size = size, .self = block };
	*tail_of(block) = block->id;
	return block;
}

/* id: 0 if it is not known. */
static void put(struct stamp *block, uint64_t id)
{
	T_CHECKF(block->self == block && (!id || block->id == id), "%p has another owner's stamp",
		 (void *)block);
	T_CHECKF(*tail_of(block) == block->id, "the end of %p was changed", (void *)block);
	block->id = 0;
	block->self = NULL;
	rdm_free(block);
}

static void drop(struct worker *worker, unsigned i)
{
	if (worker->block[i])
		put(worker->block[i], worker->id[i]);
	worker->block[i] = NULL;
}

/* The shortest way, where most of the time goes. */
static void spurt(rdm_pool *pool, size_t size)
{
	for (unsigned i = 0; i < SPURT; i++) {
		struct stamp *block = get(pool, size);

		put(block, block->id);
	}
}

static void step(struct worker *worker)
{
	unsigned i = (unsigned)t_below(&worker->rng, SLOTS);
	rdm_pool *pool = stress->pool[!t_below(&worker->rng, 8)];
	size_t size = sizes[t_below(&worker->rng, sizeof(sizes) / sizeof(sizes[0]))];

	drop(worker, i);
	worker->block[i] = get(pool, size);
	worker->id[i] = worker->block[i]->id;
	if (!t_below(&worker->rng, 4)) {
		struct stamp *mine = worker->block[i], *theirs;

		theirs = atomic_exchange(&boxes[t_below(&worker->rng, BOXES)], mine);
		worker->block[i] = NULL;
		if (theirs)
			put(theirs, 0);
	}
	spurt(pool, size);
	if (!t_below(&worker->rng, 1000))
		rdm_thread_flush();
}

static void live(struct worker *worker)
{
	for (unsigned n = 0; n < stress->operations; n++)
		step(worker);
	for (unsigned i = 0; i < SLOTS; i++)
		drop(worker, i);
}

static void empty_boxes(void)
{
	for (unsigned i = 0; i < BOXES; i++) {
		struct stamp *block = atomic_exchange(&boxes[i], NULL);

		if (block)
			put(block, 0);
	}
}

static void *one_life(void *arg)
{
	live(arg);
	return NULL;
}

/* The first lives are other threads', the last one is its own. */
static void *lives(void *arg)
{
	struct worker *worker = arg;

	for (unsigned i = 1; i < stress->lives; i++) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, NULL, one_life, worker));
		T_CHECK(!pthread_join(thread, NULL));
	}
	live(worker);
	pthread_mutex_lock(&lock);
	if (++resting == stress->workers)
		empty_boxes();
	pthread_cond_broadcast(&changed);
	while (!over)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
	return NULL;
}

void stress_start(const struct stress *what)
{
	stress = what;
	resting = 0;
	over = false;
	for (unsigned i = 0; i < stress->workers; i++) {
		workers[i].rng.state = stress->seed + 1000 * i;
		T_CHECK(!pthread_create(&workers[i].thread, NULL, lives, &workers[i]));
	}
}

bool stress_done(void)
{
	bool done;

	pthread_mutex_lock(&lock);
	done = resting == stress->workers;
	pthread_mutex_unlock(&lock);
	return done;
}

void stress_wait(void)
{
	pthread_mutex_lock(&lock);
	while (resting < stress->workers)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

void stress_end(void)
{
	pthread_mutex_lock(&lock);
	over = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	for (unsigned i = 0; i < stress->workers; i++)
		T_CHECK(!pthread_join(workers[i].thread, NULL));
}
