/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child handler that runs before the library's maps memory, and the kernel
 * puts it where the reserve was: that mapping is left alone, and every address
 * of a slab stays mapped.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static struct {
	bool armed;
	char *wish; /* NULL: wherever the kernel likes */
	char *at;
	size_t length;
	size_t stride; /* between the bytes that are written and looked at */
} early;

static void early_child(void)
{
	if (!early.armed)
		return;
	early.at = mmap(early.wish, early.length, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (early.at == MAP_FAILED)
		_exit(T_FAIL);
	for (size_t i = 0; i < early.length; i += early.stride)
		early.at[i] = (char)(i / early.stride % 100 + 1);
	early.armed = false;
}

/* A sanitizer is not awake yet. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static void early_init(void)
{
	if (pthread_atfork(NULL, NULL, early_child))
		_exit(T_FAIL);
}

/* Before the constructor of any library. */
__attribute__((section(".preinit_array"), used)) static void (*const init)(void) = early_init;

enum { BLOCKS = 8 };

static struct {
	rdm_pool *pool;
	unsigned policy;
	char *block[BLOCKS];
} scene;

static const size_t block_size = 3 * T_MIB;

static void expect_early(void)
{
	for (size_t i = 0; i < early.length; i += early.stride) {
		T_CHECKF(!t_faults(early.at + i, true), "page %p of the early mapping is gone",
			 (void *)(early.at + i));
		T_CHECKF(early.at[i] == (char)(i / early.stride % 100 + 1),
			 "page %p of the early mapping is not as it was", (void *)(early.at + i));
	}
	T_CHECK(!t_faults(early.at + early.length - 1, true));
}

static void expect_mapped(char *addr, size_t length)
{
	for (char *p = addr; p < addr + length; p += t_page()) {
		void *got = mmap(p, t_page(), PROT_NONE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		T_CHECKF(got == MAP_FAILED && errno == EEXIST,
			 "nothing is mapped at %p of the slab at %p", (void *)p, (void *)addr);
	}
}

static void expect_slabs(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		char *p = scene.block[i];

		expect_mapped(p, 2 * T_SLAB);
		T_CHECK(rdm_pool_of(p) == scene.pool && rdm_usable_size(p) >= block_size);
		if (scene.policy == RDM_FORK_COPY)
			T_CHECK(t_pattern_check(p, block_size, i) == block_size);
		else
			T_CHECK(t_faults(p, false) && t_faults(p + block_size - 1, false));
	}
}

static void use_a_pool(void)
{
	rdm_pool *pool = t_pool("child", 0, RDM_FORK_COPY, T_SLAB, 0);
	char *p[2 * BLOCKS];

	for (unsigned i = 0; i < 2 * BLOCKS; i++) {
		p[i] = t_malloc(pool, block_size);
		T_CHECK(p[i] + block_size <= early.at || early.at + early.length <= p[i]);
		memset(p[i], 'p', block_size);
	}
	T_CHECK(!t_audit(pool));
	expect_early();
	for (unsigned i = 0; i < 2 * BLOCKS; i++)
		rdm_free(p[i]);
	T_CHECK(!rdm_pool_destroy(pool));
}

static int grandchild(void *arg)
{
	(void)arg;
	expect_early();
	expect_slabs();
	use_a_pool();
	return T_PASS;
}

static int child(void *arg)
{
	(void)arg;
	T_CHECK(early.at && !early.armed);
	T_CHECKF(!early.wish || early.at == early.wish, "it is mapped at %p instead of %p",
		 (void *)early.at, (void *)early.wish);
	t_say("mapped early: %zu KiB at %p, the first slab is at %p", early.length / 1024,
	      (void *)early.at, (void *)scene.block[0]);
	expect_early();
	expect_slabs();
	use_a_pool();
	t_fork_passes(grandchild, NULL);
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(scene.block[i]);
	T_CHECK(!rdm_pool_destroy(scene.pool));
	expect_early();
	return T_PASS;
}

static void fork_with(char *wish, size_t length)
{
	struct t_caught caught;

	early.armed = true;
	early.wish = wish;
	early.length = length;
	early.stride = length < 64 * T_MIB ? t_page() : T_SLAB / 2;
	t_catch(&caught, child, NULL);
	T_CHECKF(!caught.status, "status %#x: %s", caught.status, caught.err);
	T_CHECKF(!caught.len, "without a reason: %s", caught.err);
	early.armed = false;
}

static void play(unsigned policy)
{
	uintptr_t lo, hi;
	char *middle;

	scene.policy = policy;
	scene.pool = t_pool("early", 0, policy, 2 * T_SLAB, 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		scene.block[i] = t_malloc(scene.pool, block_size);
		t_pattern_fill(scene.block[i], block_size, i);
		T_CHECK(!((uintptr_t)scene.block[i] % T_SLAB));
	}
	t_reserve_of((uintptr_t)scene.block[0], &lo, &hi);
	middle = scene.block[0] + 4 * 1024 * T_MIB;
	T_CHECK((uintptr_t)middle + 2048 * T_MIB < hi);
	fork_with(NULL, 1024 * T_MIB);
	fork_with(middle, 1024 * T_MIB);
	/* Granules of which it has only a part. */
	fork_with(middle + 5 * t_page(), 9 * T_MIB + t_page());
	fork_with(middle + T_SLAB - t_page(), t_page());
	/* Where the next slab would go. */
	fork_with(scene.block[BLOCKS - 1] + 4 * T_SLAB, T_SLAB);
	for (unsigned i = 0; i < BLOCKS; i++) {
		T_CHECK(t_pattern_check(scene.block[i], block_size, i) == block_size);
		rdm_free(scene.block[i]);
	}
	T_CHECK(!rdm_pool_destroy(scene.pool));
}

int main(void)
{
	play(RDM_FORK_HOLE);
	play(RDM_FORK_COPY);
	return T_PASS;
}
