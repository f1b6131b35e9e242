/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RDMALLOC_CONF=mr_reuse:true: what a program has registered and ended answers its next
 * registration, with the same rights in the same protection domain, and is in nobody's
 * way: not of a protection domain's end, nor of the memory that may be locked, nor of children.
 * Regions are counted by the kernel. Arguments: none, reserve, or memlock.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "preload/start.h"
#include "vm.h"

enum {
	ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
	IDLE_MAX = 1024,
	FORKS = 60,
	ROUNDS = 300,
	SMALL = 8 << 10,
};

static const size_t size = T_MIB;
static struct t_wire wire;

static struct ibv_mr *reg_for(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	struct ibv_mr *mr = ibv_reg_mr(pd, addr, length, access);

	T_CHECKF(mr, "ibv_reg_mr: %m");
	T_CHECK(mr->addr == addr && mr->length == length && mr->pd == pd &&
		mr->context == pd->context);
	return mr;
}

static struct ibv_mr *reg(void *addr, size_t length)
{
	return reg_for(wire.device.pd, addr, length, ACCESS);
}

/* Ends it; the key it had. */
static uint32_t end(struct ibv_mr *mr)
{
	uint32_t key = mr->lkey;

	T_CHECK(!ibv_dereg_mr(mr));
	return key;
}

static size_t regions(void)
{
	return t_kernel_mrs("rxe0");
}

static void *block_of(size_t length)
{
	void *block = malloc(length);

	T_CHECK(block);
	return block;
}

/* The block at an address, which is free: the pool may have others to give first. */
static void *block_at(uintptr_t where, size_t length)
{
	enum { OTHERS = 64 };
	void *other[OTHERS], *block = block_of(length);
	unsigned others = 0;

	while ((uintptr_t)block != where && others < OTHERS) {
		other[others++] = block;
		block = block_of(length);
	}
	T_CHECKF((uintptr_t)block == where,
		 "the block is not given again: nothing to be seen here");
	while (others)
		free(other[--others]);
	return block;
}

/* Frees a block and gets it again. */
static void *again(void *block, size_t length)
{
	volatile uintptr_t where = (uintptr_t)block;

	free(block);
	return block_at(where, length);
}

/* From one region to the other. */
static void over_the_wire(const struct ibv_mr *from, const struct ibv_mr *to, uint64_t id)
{
	struct ibv_sge sge = { (uintptr_t)from->addr, (uint32_t)to->length, from->lkey };
	struct ibv_wc wc;
	int error;

	T_CHECK(from->length >= to->length);
	t_pattern_fill(from->addr, to->length, id);
	t_pattern_fill(to->addr, to->length, ~id);
	error = rc_post_rdma(&wire.end[0], IBV_WR_RDMA_WRITE, &sge, (uintptr_t)to->addr, to->rkey);
	if (!error)
		error = rc_wait(&wire.end[0], &wc);
	T_CHECKF(!error, "RDMA write: %s", rc_why(error, &wc));
	T_CHECKF(t_pattern_check(to->addr, to->length, id) == to->length,
		 "the device wrote into other pages");
}

static void hits(void)
{
	unsigned char *block = block_of(size), *other = block_of(size);
	struct ibv_mr *source = reg(other, size), *whole, *part;
	size_t before = regions();
	uint32_t key = end(reg(block, size));

	T_CHECKF(regions() == before + 1, "it was not kept");
	block = again(block, size);
	whole = reg(block, size);
	T_CHECKF(whole->lkey == key && regions() == before + 1, "it was not reused");
	over_the_wire(source, whole, 1);
	part = reg(block + 5000, 12345);
	T_CHECK(part != whole && part->lkey == key && regions() == before + 1);
	over_the_wire(source, part, 2);
	end(whole);
	over_the_wire(source, part, 3);
	T_CHECK(probe_child_view(block, size) == PROBE_VIEW_BYTES);
	end(part);
	T_CHECKF(ibv_dereg_mr(part) == EINVAL, "a registration ended twice");
	block = again(block, size);
	T_CHECK(probe_child_view(block, size) == PROBE_VIEW_BYTES);
	memset(block, 7, size);
	T_CHECK(!madvise(block, size, MADV_DONTNEED));
	T_CHECK(t_is_byte(block, size, 0));
	whole = reg(block, size);
	T_CHECK(whole->lkey == key);
	over_the_wire(source, whole, 4);
	end(whole);
	end(source);
	free(block);
	free(other);
}

static void misses(void)
{
	/* In a slab of its own, of which nothing is kept yet. */
	unsigned char *block = block_of(40 * T_MIB);
	struct ibv_pd *pd = ibv_alloc_pd(wire.device.context);
	size_t before = regions();
	uint32_t key = end(reg(block, size));
	struct ibv_mr *mr;

	T_CHECK(pd);
	T_CHECKF(end(reg_for(wire.device.pd, block, size, IBV_ACCESS_LOCAL_WRITE)) != key,
		 "another right was answered");
	T_CHECK(regions() == before + 2);
	T_CHECKF(end(reg_for(pd, block, size, ACCESS)) != key, "another domain was answered");
	T_CHECK(regions() == before + 3);
	T_CHECKF(end(reg(block, size + 1)) != key, "more than was registered was answered");
	T_CHECK(regions() == before + 4);
	T_CHECK(end(reg(block + size / 2, size)) != key);
	mr = ibv_reg_mr_iova(wire.device.pd, block, size, 0x10000, ACCESS);
	T_CHECKF(!mr || mr->lkey != key, "other addresses were answered");
	T_CHECK(!mr || !ibv_dereg_mr(mr));
	T_CHECKF(!ibv_dealloc_pd(pd), "what is kept makes its domain busy");
	T_CHECK(regions() == before + 4);
	free(block);
}

/* A device that is closed takes its domains with it, and its addresses may be the next one's. */
static void closed(void)
{
	unsigned char *block = block_of(size);
	size_t before = regions();

	for (int i = 0; i < 3; i++) {
		struct rc_device device;

		T_CHECK(!t_is_out(block));
		T_CHECK(!rc_device_open_named(&device, "rxe0"));
		end(reg_for(device.pd, block, size, ACCESS));
		T_CHECK(regions() == before + 1 && t_is_out(block));
		T_CHECK(!ibv_close_device(device.context));
		T_CHECK(regions() == before);
		T_CHECKF(!t_is_out(block), "what went with the device is taken for kept");
	}
	free(block);
}

static void moved(void)
{
	unsigned char *from = block_of(size), *to = block_of(size);
	unsigned char outside[64];
	struct ibv_mr *mr = reg(from, size), *same = reg(from, size), *third = reg(to, size);
	uint32_t key = mr->lkey, there = third->lkey;

	T_CHECK(same->lkey == key && there != key);
	T_CHECK(!ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, to, size, 0));
	T_CHECK(mr->addr == to && mr->length == size && mr->lkey == there);
	over_the_wire(same, mr, 5);
	T_CHECK(!ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0,
			      IBV_ACCESS_LOCAL_WRITE));
	T_CHECK(mr->addr == to && mr->lkey != there && mr->lkey != key);
	T_CHECK(ibv_rereg_mr(mr, 1 << 20, NULL, NULL, 0, 0) == IBV_REREG_MR_ERR_INPUT);
	T_CHECK(ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0, -1) ==
		IBV_REREG_MR_ERR_INPUT);
	T_CHECK(mr->addr == to);
	T_CHECK(!ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, outside, sizeof(outside),
			      0));
	T_CHECK(mr->addr == outside);
	key = end(mr);
	mr = reg_for(wire.device.pd, outside, sizeof(outside), IBV_ACCESS_LOCAL_WRITE);
	T_CHECKF(end(mr) != key, "memory that is not ours was kept");
	over_the_wire(same, third, 6);
	end(same);
	end(third);
	free(from);
	free(to);
}

static void bounded(void)
{
	enum { N = IDLE_MAX + 76 };
	static struct ibv_mr *mr[N];
	static uint32_t key[N];
	/* No slab of before is so long. */
	unsigned char *block = block_of(80 * T_MIB);
	size_t live = 0;

	for (size_t i = 0; i < N; i++)
		mr[i] = reg(block + i * SMALL, SMALL);
	T_CHECK(regions() >= N);
	for (size_t i = 0; i < N; i++)
		key[i] = end(mr[i]);
	live = regions();
	t_say("%d regions have ended, %zu are kept", N, live);
	T_CHECK(live == IDLE_MAX);
	T_CHECKF(end(reg(block + (size_t)(N - 1) * SMALL, SMALL)) == key[N - 1],
		 "the last one was not kept");
	T_CHECKF(end(reg(block, SMALL)) != key[0], "the first one was kept");
	T_CHECK(regions() == IDLE_MAX);
	free(block);
}

static struct {
	unsigned char *block;
	struct ibv_mr *mr;
	_Atomic(bool) over;
} shared;

/* Its own device, as for any child; the parent's registrations end for it, but only here. */
static int child(void *arg)
{
	size_t before = regions();
	struct rc_device device;
	uint32_t key;

	(void)arg;
	T_CHECK(!ibv_dereg_mr(shared.mr));
	T_CHECK(ibv_dereg_mr(shared.mr) == EINVAL);
	T_CHECKF(regions() == before, "a child ended its parent's region");
	T_CHECK(t_pattern_check(shared.block, size, 8) == size);
	T_CHECK(!rc_device_open_named(&device, "rxe0"));
	key = end(reg_for(device.pd, shared.block, size, ACCESS));
	T_CHECK(regions() == before + 1);
	T_CHECK(end(reg_for(device.pd, shared.block, size, ACCESS)) == key);
	T_CHECK(!rc_device_close(&device));
	T_CHECK(regions() == before);
	return T_PASS;
}

static void inherited(void)
{
	unsigned char *other = block_of(size);
	struct ibv_mr *source = reg(other, size);
	size_t before;

	shared.block = block_of(size);
	shared.mr = reg(shared.block, size);
	before = regions();
	t_pattern_fill(shared.block, size, 8);
	t_fork_passes(child, NULL);
	T_CHECK(regions() == before);
	over_the_wire(source, shared.mr, 9);
	end(shared.mr);
	end(source);
	free(shared.block);
	free(other);
}

static void *come_and_go(void *arg)
{
	struct t_rng rng = { (uintptr_t)arg };

	while (!shared.over) {
		size_t at = t_below(&rng, size / 2);
		struct ibv_mr *mr = reg(shared.block + at, 1 + t_below(&rng, size / 2));

		T_CHECK(mr->lkey == shared.mr->lkey);
		end(mr);
	}
	return NULL;
}

/* Children of any fork at any moment: none finds a lock that is held. */
static void beside_threads(void)
{
	pthread_t thread[2];
	int status;

	shared.block = block_of(size);
	shared.mr = reg(shared.block, size);
	for (uintptr_t i = 0; i < 2; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, come_and_go, (void *)(i + 1)));
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = i % 2 ? _Fork() : fork();

		T_CHECK(pid >= 0);
		if (!pid)
			_exit(ibv_dereg_mr(shared.mr) || ibv_dereg_mr(shared.mr) != EINVAL);
		T_CHECK(waitpid(pid, &status, 0) == pid);
		T_CHECKF(!status, "fork %d: the child ended with %#x", i, status);
	}
	shared.over = true;
	for (int i = 0; i < 2; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	end(shared.mr);
	free(shared.block);
}

static double microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* One registration and its end. */
static double cost(void *block, size_t length, int access)
{
	double start = microseconds();

	for (int i = 0; i < ROUNDS; i++)
		end(reg_for(wire.device.pd, block, length, access));
	return (microseconds() - start) / ROUNDS;
}

static void costs(void)
{
	static const size_t lengths[] = { 16 << 10, 256 << 10, 4 << 20 };

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		void *block = block_of(lengths[i]);
		double hit, real;

		end(reg(block, lengths[i]));
		hit = cost(block, lengths[i], ACCESS);
		/* A right that is never reused. */
		real = cost(block, lengths[i], ACCESS | IBV_ACCESS_MW_BIND);
		t_say("ibv_reg_mr and ibv_dereg_mr of %4zu KiB: %8.1f us, reused %6.2f us",
		      lengths[i] >> 10, real, hit);
		free(block);
	}
}

static void all(void)
{
	/* First: what is kept of others' blocks would hide what it looks for. */
	closed();
	hits();
	misses();
	moved();
	inherited();
	beside_threads();
	bounded();
	costs();
}

/* The pool has no more addresses, and does not take away what is registered. */
static void limited(void)
{
	/* The first has a slab of its own, and the large one finds no room. */
	unsigned char *block = block_of(4 * T_MIB), *other = block_of(size), *large;
	struct ibv_mr *source = reg(other, size), *mr;
	uint32_t key = end(reg(block, 4 * T_MIB));
	volatile uintptr_t where = (uintptr_t)block;

	free(block);
	large = block_of(13 * T_MIB);
	T_CHECKF(!t_faults((void *)where, false), "memory that is registered was given back");
	memset(large, 1, 13 * T_MIB);
	free(large);
	block = block_at(where, 4 * T_MIB);
	mr = reg(block, size);
	T_CHECK(mr->lkey == key);
	over_the_wire(source, mr, 10);
	end(mr);
	end(source);
	free(block);
	free(other);
}

/* What is kept gives way to what is wanted. */
static void locked(void)
{
	unsigned char *first = block_of(3 * T_MIB), *second = block_of(6 * T_MIB);
	struct ibv_mr *mr;
	size_t before;

	T_CHECK(!system("chmod a+rw /dev/infiniband/*"));
	T_CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
	before = regions();
	end(reg(first, 3 * T_MIB));
	T_CHECK(regions() == before + 1);
	mr = ibv_reg_mr(wire.device.pd, second, 6 * T_MIB, ACCESS);
	if (!mr && errno == EINVAL)
		t_skip("this kernel's rdma_rxe says EINVAL whatever was wrong");
	T_CHECKF(mr, "what is kept takes the place of what is wanted: %m");
	T_CHECK(regions() == before + 1);
	end(mr);
	T_CHECKF(regions() == before, "more than half of what may be locked is kept");
	free(first);
	free(second);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name, *conf;
		void (*run)(void);
	} cases[] = {
		{ "all", "mr_reuse:true", all },
		{ "reserve", "mr_reuse:true,reserve:16M", limited },
		{ "memlock", "mr_reuse:true", locked },
	};
	const char *name = argc == 2 ? argv[1] : "all";
	const struct rlimit limit = { 8 * T_MIB, 8 * T_MIB };
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	bool found = false;

	T_CHECK(!setrlimit(RLIMIT_MEMLOCK, strcmp(name, "memlock") ? &none : &limit));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(name, cases[i].name))
			continue;
		found = true;
		t_preload(argv, false, cases[i].conf);
		t_wire_open(&wire, "rxe0");
		cases[i].run();
		t_wire_close(&wire);
		T_CHECKF(!regions(), "regions are left when the device is closed");
	}
	T_CHECKF(found, "there is no such case");
	return T_PASS;
}
