/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of the program's own: what rdm_register() takes, refuses, counts and gives back, and what
 * children find there. tests/fork/foreign has a device look at it.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 16, THREADS = 3, ROUNDS = 2000 };

static size_t page;

static char *map(size_t pages)
{
	char *memory = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	T_CHECK(memory != MAP_FAILED);
	memset(memory, 'p', pages * page);
	return memory;
}

static struct t_recorder *recorder(const char *name)
{
	struct t_recorder *rail = t_recorder_new(name);

	rail->any = true;
	return rail;
}

static bool child_has(char *memory, size_t length)
{
	pid_t pid = fork();
	int status;

	T_CHECK(pid >= 0);
	if (!pid)
		_exit(t_faults(memory, false) || t_faults(memory + length - 1, false));
	T_CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return !status;
}

static void covers(const char *at, const char *base, size_t length)
{
	struct rdm_key key;

	T_CHECK(!rdm_key(at, 0, &key));
	T_CHECK(key.base == base && key.length == length);
}

static void counts(void)
{
	struct t_recorder *rail = recorder("counts");
	rdm_pool *pool = t_pool("counts", 0, 0, 0, 0);
	char *memory = map(PAGES);
	struct rdm_key key;

	T_CHECK(!t_recorder_add(rail, pool));
	T_CHECK(!rdm_register(pool, memory, 8 * page));
	T_CHECK(!rdm_register(pool, memory, 8 * page));
	/* A part only counts, whole pages or not. */
	T_CHECK(!rdm_register(pool, memory + page + 1, 10));
	T_CHECK(rail->live == 1);
	covers(memory, memory, 8 * page);
	covers(memory + 8 * page - 1, memory, 8 * page);
	T_FAILS(rdm_key(memory + 8 * page, 0, &key) == -1, EINVAL);
	T_FAILS(rdm_key(memory - 1, 0, &key) == -1, EINVAL);
	T_FAILS(rdm_key(memory, 1, &key) == -1, ENOENT);
	/* One that overlaps is one more; the older one answers for what both have. */
	T_CHECK(!rdm_register(pool, memory + 4 * page, 8 * page));
	T_CHECK(rail->live == 2);
	covers(memory + 5 * page, memory, 8 * page);
	covers(memory + 9 * page, memory + 4 * page, 8 * page);
	/* Whatever a stranger says. */
	T_CHECK(!madvise(memory, 8 * page, MADV_DOFORK));
	T_CHECK(!child_has(memory + 4 * page, 4 * page));
	T_CHECK(!rdm_deregister(pool, memory, 8 * page) && !rdm_deregister(pool, memory, 8 * page));
	T_CHECK(rail->live == 2);
	T_FAILS(rdm_pool_destroy(pool) == -1, EBUSY);
	T_CHECK(!rdm_deregister(pool, memory + page + 1, 10));
	T_CHECK(rail->live == 1);
	covers(memory + 5 * page, memory + 4 * page, 8 * page);
	/* What nobody else keeps is the children's again. */
	T_CHECK(child_has(memory, 4 * page) && !child_has(memory + 4 * page, page));
	T_FAILS(rdm_deregister(pool, memory, 8 * page) == -1, ENOENT);
	T_CHECK(!rdm_deregister(pool, memory + 4 * page, 8 * page));
	T_CHECK(!rail->live && child_has(memory, PAGES * page));
	T_CHECK(!rdm_pool_destroy(pool));
	t_recorder_free(rail);
	munmap(memory, PAGES * page);
}

static void refuses(void)
{
	rdm_pool *pool = t_pool("refuses", 0, 0, 0, 0), *other = t_pool("other", 0, 0, 0, 0);
	char *memory = map(PAGES), *block = t_malloc(pool, 100), local[4096];
	struct rdm_key key;

	T_FAILS(rdm_register(NULL, memory, page) == -1, EINVAL);
	T_FAILS(rdm_register(pool, NULL, page) == -1, EINVAL);
	T_FAILS(rdm_register(pool, memory, 0) == -1, EINVAL);
	T_FAILS(rdm_register(pool, memory, SIZE_MAX) == -1, EINVAL);
	T_FAILS(rdm_register(pool, block, 100) == -1, EINVAL);
	T_FAILS(rdm_register(pool, memory + 1, page) == -1, EINVAL);
	T_FAILS(rdm_register(pool, memory, page - 1) == -1, EINVAL);
	T_FAILS(rdm_register(pool, local, sizeof(local)) == -1, EINVAL);
	T_CHECK(!munmap(memory + page, page));
	T_FAILS(rdm_register(pool, memory, 4 * page) == -1, EFAULT);
	T_CHECK(!mprotect(memory + 4 * page, page, PROT_READ));
	T_FAILS(rdm_register(pool, memory + 3 * page, 4 * page) == -1, EACCES);
	T_CHECK(mmap(memory + 4 * page, page, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory + 4 * page);
	T_FAILS(rdm_register(pool, memory + 3 * page, 4 * page) == -1, EINVAL);
	T_CHECK(!rdm_register(pool, memory + 8 * page, page));
	T_FAILS(rdm_register(other, memory + 7 * page, 2 * page) == -1, EBUSY);
	T_CHECK(!rdm_deregister(pool, memory + 8 * page, page));
	T_CHECK(!rdm_register(other, memory + 7 * page, 2 * page));
	T_FAILS(rdm_key(memory + 7 * page, 0, &key) == -1, ENOENT);
	T_CHECK(!rdm_pool_reset(other));
	T_FAILS(rdm_key(memory + 7 * page, 0, &key) == -1, EINVAL);
	/* Who insists gets it, and is told. */
	T_CHECK(rdm_register_unsafe(pool, memory + 9 * page + 1, 3 * page) == RDM_UNSAFE_PAGES);
	T_CHECK(child_has(memory + 9 * page, page) && !child_has(memory + 10 * page, 2 * page));
	T_CHECK(child_has(memory + 12 * page, page));
	T_CHECK(!rdm_deregister(pool, memory + 9 * page + 1, 3 * page));
	T_CHECK(rdm_register_unsafe(pool, local, sizeof(local)) & RDM_UNSAFE_STACK);
	T_CHECK(child_has(local, sizeof(local)));
	T_CHECK(!rdm_deregister(pool, local, sizeof(local)));
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool) && !rdm_pool_destroy(other));
}

static void leaves_files_alone(void)
{
	rdm_pool *pool = t_pool("files", 0, RDM_FORK_HOLE, 0, 0);
	struct t_recorder *rail = recorder("files");
	int fd = memfd_create("file", MFD_CLOEXEC);
	struct stat before, after;
	char *memory;

	T_CHECK(!t_recorder_add(rail, pool));
	T_CHECK(fd >= 0 && !ftruncate(fd, (off_t)(PAGES * page)));
	memory = mmap(NULL, PAGES * page, PROT_READ, MAP_SHARED, fd, 0);
	T_CHECK(memory != MAP_FAILED && !fstat(fd, &before));
	T_CHECK(!rdm_register(pool, memory + 1, page));
	T_CHECK(!fstat(fd, &after));
	T_CHECK(before.st_blocks == after.st_blocks);
	T_CHECK(!memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)));
	T_CHECK(child_has(memory, 2 * page));
	T_CHECK(!rdm_deregister(pool, memory + 1, page));
	T_CHECK(!rdm_pool_destroy(pool));
	t_recorder_free(rail);
	munmap(memory, PAGES * page);
	close(fd);
}

static int child_of(rdm_pool *pool, char *memory, unsigned policy)
{
	struct rdm_key key;
	size_t length = 4 * page;

	T_FAILS(rdm_key(memory, 0, &key) == -1, ECHILD);
	T_CHECK(!rdm_deregister(pool, memory, length));
	T_CHECK(!rdm_deregister(pool, memory + 2 * page, 2 * page));
	T_FAILS(rdm_key(memory, 0, &key) == -1, EINVAL);
	if (policy == RDM_FORK_HOLE) {
		T_CHECK(t_faults(memory, false) && t_faults(memory + length - 1, false));
	} else {
		T_CHECK(t_is_byte(memory, length, policy == RDM_FORK_ZERO ? 0 : 'p'));
		memset(memory, 'c', length);
	}
	T_CHECK(t_is_byte(memory + length, page, 'p'));
	return T_PASS;
}

static void children(void)
{
	static const unsigned policy[] = { RDM_FORK_HOLE, RDM_FORK_ZERO, RDM_FORK_COPY };

	for (unsigned i = 0; i < 3; i++) {
		struct t_recorder *rail = recorder("children");
		rdm_pool *pool = t_pool("children", 0, policy[i], 0, 0);
		char *memory = map(PAGES);
		size_t vmas;

		T_CHECK(!t_recorder_add(rail, pool));
		T_CHECK(!rdm_register(pool, memory, 4 * page));
		T_CHECK(!rdm_register(pool, memory + 2 * page, 2 * page));
		vmas = t_vmas_total();
		for (unsigned n = 0; n < 3; n++) {
			pid_t pid = fork();
			int status;

			T_CHECK(pid >= 0);
			if (!pid)
				_exit(child_of(pool, memory, policy[i]));
			T_CHECK(waitpid(pid, &status, 0) == pid && !status);
			T_CHECK(t_is_byte(memory, 5 * page, 'p'));
		}
		/* No copy stays with the parent. */
		T_CHECK(t_vmas_total() <= vmas);
		T_CHECK(!rdm_deregister(pool, memory, 4 * page));
		T_CHECK(!rdm_deregister(pool, memory + 2 * page, 2 * page));
		T_CHECK(!rail->live && !rdm_pool_destroy(pool));
		t_recorder_free(rail);
		munmap(memory, PAGES * page);
	}
}

static void rails(void)
{
	struct t_recorder *first = recorder("first"), *second = recorder("second");
	rdm_pool *pool = t_pool("rails", 0, 0, 0, 0);
	char *memory = map(PAGES);
	struct rdm_key key;

	T_CHECK(!rdm_register(pool, memory, page));
	T_CHECK(!t_recorder_add(first, pool) && first->live == 1);
	T_CHECK(t_recorder_add(second, pool) == 1 && second->live == 1);
	covers(memory, memory, page);
	T_CHECK(!rdm_pool_remove_rail(pool, 0) && !first->live);
	T_FAILS(rdm_key(memory, 0, &key) == -1, ENOENT);
	T_CHECK(!rdm_key(memory, 1, &key));
	/* What one rail refuses has no key of any, and is the children's. */
	second->fail_reg = 1;
	second->fail_errno = EPERM;
	T_FAILS(rdm_register(pool, memory + 2 * page, page) == -1, EPERM);
	T_FAILS(rdm_key(memory + 2 * page, 1, &key) == -1, EINVAL);
	T_CHECK(child_has(memory + 2 * page, page));
	/* What a rail does not let go stays, and can be let go later. */
	second->fail_dereg = 1;
	T_FAILS(rdm_deregister(pool, memory, page) == -1, EIO);
	T_CHECK(!rdm_key(memory, 1, &key) && !child_has(memory, page));
	T_CHECK(!rdm_deregister(pool, memory, page) && !second->live);
	T_CHECK(!rdm_pool_destroy(pool));
	t_recorder_free(first);
	t_recorder_free(second);
	munmap(memory, PAGES * page);
}

struct work {
	rdm_pool *pool;
	struct t_recorder *rail;
	char *memory;
	uint64_t seed;
	unsigned rounds;
};

/* What a thread has registered has a key all the while, whatever others do with its neighbours. */
static void *work(void *arg)
{
	const struct work *work = arg;
	struct t_rng rng = { .state = work->seed };

	for (unsigned i = 0; i < work->rounds; i++) {
		size_t first = t_below(&rng, PAGES), n = 1 + t_below(&rng, PAGES - first);
		char *at = work->memory + first * page;
		struct rdm_key key;

		T_CHECK(!rdm_register(work->pool, at, n * page));
		T_CHECK(!rdm_key(at, 0, &key) && !rdm_key(at + n * page - 1, 0, &key));
		T_CHECK(t_recorder_find(work->rail, at, n * page));
		/* Who registers it writes to each page, too, and changes nothing. */
		__atomic_store_n(&at[t_below(&rng, n * page)], 'p', __ATOMIC_RELAXED);
		T_CHECK(!rdm_deregister(work->pool, at, n * page));
	}
	return NULL;
}

static void threads(void)
{
	struct t_recorder *rail = recorder("threads");
	rdm_pool *pool = t_pool("threads", 0, RDM_FORK_COPY, 0, 0);
	char *memory = map(PAGES);
	size_t vmas = t_vmas_total();
	struct work each[THREADS];
	pthread_t thread[THREADS];
	uint64_t seed = t_seed();
	unsigned rounds = t_quick() ? ROUNDS / 4 : ROUNDS;

	T_CHECK(!t_recorder_add(rail, pool));
	for (unsigned i = 0; i < THREADS; i++) {
		each[i] = (struct work){ pool, rail, memory, seed + i, rounds };
		T_CHECK(!pthread_create(&thread[i], NULL, work, &each[i]));
	}
	for (unsigned i = 0; i < 20; i++)
		T_CHECK(child_has(memory, PAGES * page));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	T_CHECK(!rail->live && t_is_byte(memory, PAGES * page, 'p'));
	/* Stacks of threads may stay, and a sanitizer maps for itself. */
	T_CHECK(T_SANITIZED || t_vmas_total() <= vmas + 4 * THREADS + 8);
	T_CHECK(!rdm_pool_destroy(pool));
	t_recorder_free(rail);
	munmap(memory, PAGES * page);
}

int main(void)
{
	page = t_page();
	counts();
	refuses();
	leaves_files_alone();
	children();
	rails();
	threads();
	return T_PASS;
}
