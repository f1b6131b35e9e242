/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork() in the midst of other threads' work at their magazines. The child takes
 * the pool into use, with its blocks or without, and allocates all of it: no block
 * comes twice, none that was live, and few are lost. Its children can do the same.
 */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WORKERS = 6, KEPT = 32, OWN = 40, SPURT = 200 };

static const size_t limit = 16 * T_MIB;
/* As RDMALLOC_CONF says. */
static const size_t budget = 256 << 10;

/* Whole pages, so that what is carved is what blocks have. */
static const size_t sizes[] = { 4096, 4096, 8192, 16384, 20480, 65536 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), LARGEST = 65536 };

struct block {
	_Atomic(void *) addr; /* NULL while it is on its way */
	size_t size;
};

static struct {
	rdm_pool *pool;
	struct t_recorder *recorder;
	struct block kept[WORKERS][KEPT];
	struct block own[OWN]; /* the forking thread's */
	_Atomic(bool) stop;
	uint64_t seed;
	void *top;                  /* what it has freed last, of 4096 bytes */
	uintptr_t lo, hi;           /* the reserve */
	_Atomic(size_t) *most_lost; /* in any child */
} scene;

static struct t_spurts spurts = T_SPURTS_INIT;

static void replace(struct block *block, size_t size)
{
	void *old = block->addr;

	block->addr = NULL;
	rdm_free(old);
	block->size = size;
	block->addr = t_malloc(scene.pool, size);
}

/* Stops a thread wherever it is, as a fork finds it. */
static struct t_event stopped[WORKERS], go_on[WORKERS];
static __thread uintptr_t worker;

static void stop_here(int sig)
{
	int saved = errno;

	(void)sig;
	t_event_set(&stopped[worker]);
	t_event_wait(&go_on[worker]);
	errno = saved;
}

/* Never without a block in its own magazine: no lock is held when it is stopped. */
static void *work_alone(void *arg)
{
	uintptr_t me = (uintptr_t)arg;

	worker = me;
	for (unsigned round = 0; !scene.stop; round++) {
		/* Its magazine is there, and has room. */
		if (round == 1)
			t_event_set(&stopped[me]);
		for (unsigned i = 0; i < SPURT; i++) {
			struct block *block = &scene.kept[me][i % KEPT];
			void *old = block->addr;

			block->addr = NULL;
			rdm_free(old);
			block->addr = rdm_malloc(scene.pool, block->size);
		}
	}
	return NULL;
}

static void *work(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	struct t_rng rng = { .state = scene.seed + me };
	uint64_t last = 0;

	while (!scene.stop) {
		t_spurts_await(&spurts, &last);
		for (unsigned n = 0; n < SPURT; n++) {
			replace(&scene.kept[me][t_below(&rng, KEPT)], sizes[t_below(&rng, SIZES)]);
			for (unsigned i = 0; i < 8; i++)
				rdm_free(t_malloc(scene.pool, sizes[i % SIZES]));
		}
	}
	for (unsigned i = 0; i < KEPT; i++)
		rdm_free(scene.kept[me][i].addr);
	return NULL;
}

/* Who has each 4096 bytes of the reserve, in a child. */
static unsigned char *owners;

static void start_owners(void)
{
	owners = mmap(NULL, (scene.hi - scene.lo) / 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	T_CHECKF(owners != MAP_FAILED, "no table of owners: %s", strerror(errno));
}

static void own(void *addr, size_t size)
{
	size_t first = ((uintptr_t)addr - scene.lo) / 4096;

	T_CHECKF((uintptr_t)addr >= scene.lo && (uintptr_t)addr + size <= scene.hi,
		 "%p is not in the reserve", addr);
	for (size_t i = first; i < first + size / 4096; i++) {
		T_CHECKF(!owners[i], "%p was handed out twice", addr);
		owners[i] = 1;
	}
}

/* What was surely live when the process forked. */
static void own_inherited(struct block *block, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (block[i].addr) {
			T_CHECKF(rdm_usable_size(block[i].addr) == block[i].size,
				 "%p, which is live, has %zu bytes, not %zu", block[i].addr,
				 rdm_usable_size(block[i].addr), block[i].size);
			own(block[i].addr, block[i].size);
		}
}

/* Everything that is to be had, by this thread. */
static size_t take_everything(void)
{
	size_t bytes = 0;
	void *block;

	for (size_t size = 65536; size >= 4096; size /= 4)
		while ((block = rdm_malloc(scene.pool, size))) {
			own(block, size);
			*(volatile char *)block = 1;
			bytes += size;
		}
	T_CHECK(errno == ENOMEM);
	return bytes;
}

static void *free_something(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < SIZES; i++)
		rdm_free(t_malloc(scene.pool, sizes[i]));
	return NULL;
}

static void let_a_thread_work(void)
{
	pthread_t thread;

	/* It does not know a thread that is made where another was that is gone. */
	if (T_TSAN)
		return;
	T_CHECK(!pthread_create(&thread, NULL, free_something, NULL));
	T_CHECK(!pthread_join(thread, NULL));
}

/* Blocks can be freed before the pool is in use again; what was kept is out of reach. */
static void while_inherited(void)
{
	size_t before;

	T_FAILS(!rdm_malloc(scene.pool, 4096), ECHILD);
	T_CHECK(t_stats(scene.pool).inherited);
	before = t_stats(scene.pool).live_blocks;
	for (unsigned i = 0; i < OWN; i += 2) {
		before -= scene.own[i].addr != NULL;
		rdm_free(scene.own[i].addr);
		scene.own[i].addr = NULL;
	}
	T_FAILS(!rdm_malloc(scene.pool, 4096), ECHILD);
	T_CHECK(t_stats(scene.pool).live_blocks == before);
}

struct act {
	bool adopt;
	bool heir;  /* the thread that forked ends before the pool is in use again */
	bool again; /* a grandchild does the same */
};

static void take_into_use(const struct act *act, struct t_recorder *recorder)
{
	void *top;

	if (!act->adopt) {
		T_CHECK(!rdm_pool_reset(scene.pool));
		t_recorder_add(recorder, scene.pool);
		return;
	}
	t_recorder_add(recorder, scene.pool);
	own_inherited(scene.own, OWN);
	for (unsigned i = 0; i < WORKERS; i++)
		own_inherited(scene.kept[i], KEPT);
	if (!scene.top)
		return;
	top = t_malloc(scene.pool, 4096);
	T_CHECKF(top == scene.top, "%p, not what the forking thread freed last, %p", top,
		 scene.top);
	rdm_free(top);
}

static int child(void *arg);

static void use(const struct act *act)
{
	struct t_recorder *recorder = t_recorder_new("child");
	size_t live, lost, most = 0;

	while_inherited();
	take_into_use(act, recorder);
	/* ASan's allocator may have been locked when the process forked. */
	if (!T_SANITIZED)
		let_a_thread_work();
	if (act->again) {
		struct act in_grandchild = { .adopt = act->adopt };

		t_fork_passes(child, &in_grandchild);
	}
	live = t_stats(scene.pool).live_bytes;
	lost = limit - live - take_everything();
	/* Blocks on their way, and a cache that its thread was at. */
	if (act->adopt)
		most = WORKERS * (2 * budget + LARGEST);
	T_CHECKF(lost <= most, "of %zu bytes %zu are lost, %zu are live", limit, lost, live);
	if (lost > *scene.most_lost)
		*scene.most_lost = lost;
	/* Once the first thread has ended /proc/self is empty. */
	T_CHECK(act->heir || !t_audit(scene.pool));
}

static pthread_t forked;

static void *inherit(void *act)
{
	T_CHECK(!pthread_join(forked, NULL));
	use(act);
	_exit(T_PASS);
}

static int child(void *arg)
{
	/* The stack of a thread that has ended is nobody's. */
	static struct act copy;
	const struct act *act = &copy;
	pthread_t heir;

	copy = *(const struct act *)arg;
	start_owners();
	if (act->heir) {
		forked = pthread_self();
		scene.top = NULL;
		T_CHECK(!pthread_create(&heir, NULL, inherit, &copy));
		pthread_exit(NULL);
	}
	use(act);
	return T_PASS;
}

/* The forking thread has a few blocks in its own magazines. */
static void use_own_magazines(struct t_rng *rng)
{
	void *block[OWN];

	for (unsigned i = 0; i < OWN; i++)
		replace(&scene.own[i], sizes[t_below(rng, SIZES)]);
	for (unsigned i = 0; i < OWN; i++)
		block[i] = t_malloc(scene.pool, 4096);
	for (unsigned i = 0; i < OWN; i++)
		rdm_free(block[i]);
	scene.top = block[OWN - 1];
}

static void fork_often(void)
{
	unsigned most = t_quick() ? 100 : T_SANITIZED ? 40 : 2000;
	struct t_rng rng = { .state = scene.seed };
	size_t rss = 0;

	for (unsigned i = 0; i < most; i++) {
		struct act act = { .adopt = i % 3,
				   .heir = i % 5 == 4 && !T_TSAN,
				   .again = i % 4 == 0 };

		t_spurts_start(&spurts);
		use_own_magazines(&rng);
		t_fork_passes(child, &act);
		if (i == most / 4)
			rss = t_rss();
	}
	T_CHECKF(T_SANITIZED || t_rss() < rss + 4 * T_MIB, "the parent grew from %zu to %zu bytes",
		 rss, t_rss());
}

/* Other threads are caught between two instructions of an operation at a magazine. */
static void fork_at_any_instruction(void)
{
	struct sigaction action = { .sa_handler = stop_here };
	unsigned most = t_quick() || T_SANITIZED ? 30 : 300;
	pthread_t thread[WORKERS];

	T_CHECK(!sigaction(SIGUSR1, &action, NULL));
	scene.stop = false;
	for (uintptr_t i = 0; i < WORKERS; i++) {
		t_event_init(&stopped[i]);
		t_event_init(&go_on[i]);
		for (unsigned k = 0; k < KEPT; k++) {
			scene.kept[i][k].size = 4096;
			scene.kept[i][k].addr = t_malloc(scene.pool, 4096);
		}
		T_CHECK(!pthread_create(&thread[i], NULL, work_alone, (void *)i));
		t_event_wait(&stopped[i]);
	}
	use_own_magazines(&(struct t_rng){ .state = scene.seed });
	for (unsigned n = 0; n < most; n++) {
		struct act act = { .adopt = true };

		for (unsigned i = 0; i < WORKERS; i++)
			T_CHECK(!pthread_kill(thread[i], SIGUSR1));
		for (unsigned i = 0; i < WORKERS; i++)
			t_event_wait(&stopped[i]);
		t_fork_passes(child, &act);
		for (unsigned i = 0; i < WORKERS; i++)
			t_event_set(&go_on[i]);
	}
	scene.stop = true;
	for (unsigned i = 0; i < WORKERS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	for (unsigned i = 0; i < WORKERS * KEPT; i++)
		rdm_free(scene.kept[i / KEPT][i % KEPT].addr);
}

int main(int argc, char **argv)
{
	pthread_t thread[WORKERS];

	(void)argc;
	/* Little, so that what a thread has in its hands is little. */
	t_configure(argv, "magazine:256K,log:silent");
	scene.seed = t_seed();
	scene.most_lost = mmap(NULL, sizeof(*scene.most_lost), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	T_CHECK(scene.most_lost != MAP_FAILED);
	scene.recorder = t_recorder_new("parent");
	scene.pool = t_pool("forked", 0, 0, T_SLAB, limit);
	t_recorder_add(scene.recorder, scene.pool);
	T_CHECK(!rdm_pool_reserve(scene.pool, limit));
	use_own_magazines(&(struct t_rng){ .state = scene.seed });
	t_reserve_of((uintptr_t)scene.top, &scene.lo, &scene.hi);
	for (uintptr_t i = 0; i < WORKERS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, work, (void *)i));
	fork_often();
	scene.stop = true;
	t_spurts_start(&spurts);
	for (unsigned i = 0; i < WORKERS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	fork_at_any_instruction();
	for (unsigned i = 0; i < OWN; i++)
		rdm_free(scene.own[i].addr);
	T_CHECK(!rdm_pool_destroy(scene.pool) && !scene.recorder->live);
	t_recorder_free(scene.recorder);
	t_say("at most %zu bytes were lost in a child", *scene.most_lost);
	return T_PASS;
}
