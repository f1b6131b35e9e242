/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * jemalloc in a child: after a fork in the midst of it, as from a signal handler,
 * both processes go on where they were; threads that the child does not have leave
 * nothing behind there, neither those that were alive nor one that was about to end.
 */
#include "support.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, BLOCK = 20480, BLOCKS = 64, STACK = 1 << 20 };

struct rdm_slab_set;

/* The linker sends the library's calls here (--wrap). */
void *__real_rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align);
void *__wrap_rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align);

static bool fork_at_carve;
static pid_t forked = -1;

void *__wrap_rdm_slabs_carve(struct rdm_slab_set *set, void *at, size_t size, size_t align)
{
	if (fork_at_carve) {
		fork_at_carve = false;
		forked = fork();
	}
	return __real_rdm_slabs_carve(set, at, size, align);
}

static void *use(void *pool)
{
	t_malloc_and_free(pool, BLOCK, BLOCKS);
	return NULL;
}

static void use_in_threads(rdm_pool *pool)
{
	pthread_t thread[THREADS];

	/* It takes them for those of the parent whose stacks they have. */
	if (T_TSAN)
		return;
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, use, pool));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
}

static int grandchild(void *inherited)
{
	rdm_pool *pool = t_pool("grandchild", 0, RDM_FORK_COPY, 0, 0);

	use(pool);
	use_in_threads(pool);
	T_CHECK(!rdm_pool_destroy(inherited) && !rdm_pool_destroy(pool));
	return T_PASS;
}

static int child(void *inherited)
{
	rdm_pool *pool = t_pool("child", 0, RDM_FORK_COPY, 0, 0);

	use(pool);
	use_in_threads(pool);
	t_fork_passes(grandchild, pool);
	T_CHECK(!rdm_pool_reset(inherited));
	use(inherited);
	T_CHECK(!rdm_pool_destroy(inherited) && !rdm_pool_destroy(pool));
	return T_PASS;
}

static void fork_in_the_midst(void)
{
	rdm_pool *pool = t_pool("midst", 0, RDM_FORK_COPY, 0, 0);
	char *block;
	int status;

	use(pool);
	fork_at_carve = true;
	/* One that no run of jemalloc's is long enough for. */
	block = rdm_malloc(pool, T_MIB);
	T_CHECKF(forked >= 0, "nothing was carved");
	if (!forked)
		_exit(child(pool));
	T_CHECK(block && waitpid(forked, &status, 0) == forked);
	T_CHECKF(!status, "the child ended with status %#x", (unsigned)status);
	rdm_free(block);
	use(pool);
	T_CHECK(!rdm_pool_destroy(pool));
}

static struct t_event started, go_on;
static atomic_uint alive;
static char *stacks;

/* Whoever still looks for the threads' parts of jemalloc dies. */
static int child_without_stacks(void *pool)
{
	T_CHECK(!mprotect(stacks, THREADS * STACK, PROT_NONE));
	return child(pool);
}

static void *live(void *pool)
{
	use(pool);
	if (atomic_fetch_add(&alive, 1) + 1 == THREADS)
		t_event_set(&started);
	t_event_wait(&go_on);
	return NULL;
}

static void start(pthread_t *thread, void *stack, void *pool)
{
	pthread_attr_t attributes;

	T_CHECK(!pthread_attr_init(&attributes));
	T_CHECK(!pthread_attr_setstack(&attributes, stack, STACK));
	T_CHECK(!pthread_create(thread, &attributes, live, pool));
	T_CHECK(!pthread_attr_destroy(&attributes));
}

static void leave_threads_behind(void)
{
	rdm_pool *pool = t_pool("behind", 0, RDM_FORK_HOLE, 0, 0);
	pthread_t thread[THREADS];

	t_event_init(&started);
	t_event_init(&go_on);
	stacks = mmap(NULL, THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	T_CHECK(stacks != MAP_FAILED);
	for (unsigned i = 0; i < THREADS; i++)
		start(&thread[i], stacks + i * STACK, pool);
	t_event_wait(&started);
	t_fork_passes(child_without_stacks, pool);
	for (unsigned i = 0; i < THREADS; i++)
		t_event_set(&go_on);
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	T_CHECK(!munmap(stacks, THREADS * STACK));
	T_CHECK(!rdm_pool_destroy(pool));
}

static atomic_bool stop;

static void *end_all_the_time(void *pool)
{
	while (!atomic_load(&stop)) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, NULL, use, pool));
		T_CHECK(!pthread_join(thread, NULL));
	}
	return NULL;
}

static void fork_while_threads_end(void)
{
	rdm_pool *pool;
	pthread_t thread[2];

	/* Its allocator has locks of its own, which the child may find taken. */
	if (T_SANITIZED) {
		t_say("SKIP: forks while threads end: a sanitizer does not stand it");
		return;
	}
	pool = t_pool("ends", 0, RDM_FORK_HOLE, 0, 0);
	for (unsigned i = 0; i < 2; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, end_all_the_time, pool));
	for (unsigned i = 0; i < (t_quick() ? 10 : 200); i++)
		t_fork_passes(child, pool);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	T_CHECK(!rdm_pool_destroy(pool));
}

int main(void)
{
	fork_in_the_midst();
	leave_threads_behind();
	fork_while_threads_end();
	return T_PASS;
}
