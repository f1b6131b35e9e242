/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the kernel, or a sandbox, refuses membarrier(2): one line says so, trim
 * returns what it can have without, nothing hangs, and nothing is left of a pool
 * that is destroyed or reset.
 */
#include "support.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCKS = 50 };

static rdm_pool *pool;
static struct t_recorder *recorder;
static struct t_event filled, go_on;

static void fill(size_t size)
{
	void *block[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = t_malloc(pool, size);
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(block[i]);
}

/* Works on when it is woken, then ends. */
static void *sleeper(void *arg)
{
	(void)arg;
	fill(4096);
	t_event_set(&filled);
	t_event_wait(&go_on);
	return NULL;
}

static void *worker(void *arg)
{
	(void)arg;
	sleeper(NULL);
	fill(1000);
	fill(4096);
	return NULL;
}

static pthread_t start(void *(*fn)(void *arg))
{
	pthread_t thread;

	T_CHECK(!pthread_create(&thread, NULL, fn, NULL));
	t_event_wait(&filled);
	return thread;
}

static void end(pthread_t thread)
{
	t_event_set(&go_on);
	T_CHECK(!pthread_join(thread, NULL));
}

static void open_pool(void)
{
	recorder = t_recorder_new("refused");
	pool = t_pool("refused", 0, 0, T_SLAB, 0);
	t_recorder_add(recorder, pool);
	t_event_init(&filled);
	t_event_init(&go_on);
}

/* What this thread has, and those that have ended; of the sleeper nothing. */
static int trims(void *arg)
{
	pthread_t thread;

	(void)arg;
	open_pool();
	thread = start(worker);
	fill(T_MIB);
	fill(20000);
	for (unsigned i = 0; i < 3; i++) {
		struct rdm_stats stats;

		T_CHECK(!rdm_pool_trim(pool, 0));
		stats = t_stats(pool);
		T_CHECKF(stats.slab_bytes >= BLOCKS * 4096 && stats.slab_bytes <= 2 * T_SLAB,
			 "%zu bytes of slabs", stats.slab_bytes);
		T_CHECKF(!stats.magazine_bytes && !stats.depot_bytes,
			 "%zu bytes in magazines, %zu in the depot", stats.magazine_bytes,
			 stats.depot_bytes);
	}
	end(thread);
	T_CHECK(!rdm_pool_trim(pool, 0));
	T_CHECKF(!t_stats(pool).slab_bytes, "%zu bytes of slabs", t_stats(pool).slab_bytes);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	return T_PASS;
}

static int destroys(void *arg)
{
	pthread_t thread;

	(void)arg;
	open_pool();
	thread = start(sleeper);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	end(thread);
	return T_PASS;
}

static int resets(void *arg)
{
	pthread_t thread;

	(void)arg;
	open_pool();
	thread = start(worker);
	T_CHECK(!rdm_pool_reset(pool) && !recorder->live);
	T_CHECK(!t_stats(pool).slab_bytes);
	t_recorder_add(recorder, pool);
	fill(4096);
	/* The worker goes on with magazines that are empty now. */
	end(thread);
	T_CHECK(!rdm_pool_trim(pool, 0) && !t_stats(pool).slab_bytes);
	T_CHECK(!rdm_pool_destroy(pool) && !recorder->live);
	return T_PASS;
}

/* At the limit: what can be had is had, else the call fails as documented. */
static int allocates(void *arg)
{
	pthread_t thread;
	void *block;

	(void)arg;
	open_pool();
	T_CHECK(!rdm_pool_destroy(pool));
	pool = t_pool("refused", 0, 0, T_SLAB, 2 * T_SLAB);
	thread = start(sleeper);
	fill(20000);
	T_FAILS(!(block = rdm_malloc(pool, 2 * T_SLAB)), ENOMEM);
	block = t_malloc(pool, T_SLAB);
	rdm_free(block);
	end(thread);
	block = t_malloc(pool, 2 * T_SLAB);
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

static void refuse_membarrier(char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		t_skip("no seccomp filter: %s", strerror(errno));
	/* Also for what the library does when it is loaded. */
	T_CHECK(!setenv("RDM_TEST_REFUSED", "1", 1));
	execv("/proc/self/exe", argv);
	T_CHECKF(false, "execv: %s", strerror(errno));
}

static void expect_one_line(int (*fn)(void *arg), const char *word)
{
	struct t_caught caught;

	t_catch(&caught, fn, NULL);
	t_caught_line(&caught, "membarrier", word);
}

int main(int argc, char **argv)
{
	struct t_caught caught;

	(void)argc;
	if (!getenv("RDM_TEST_REFUSED"))
		refuse_membarrier(argv);
	T_FAILS(syscall(SYS_membarrier, 0, 0, 0) == -1, ENOSYS);
	expect_one_line(trims, strerror(ENOSYS));
	t_catch(&caught, destroys, NULL);
	T_CHECKF(!caught.status && !caught.len, "status %#x: %s", caught.status, caught.err);
	expect_one_line(resets, strerror(ENOSYS));
	t_catch(&caught, allocates, NULL);
	T_CHECKF(!caught.status && t_lines(caught.err) == 2 && strstr(caught.err, "membarrier") &&
			 strstr(caught.err, "limit"),
		 "status %#x: %s", caught.status, caught.err);
	return T_PASS;
}
