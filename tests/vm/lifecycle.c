/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: lifecycle CASE
 *
 * What goes away, or is refused, while a pool's slabs are regions of a real
 * device's; at the end of each case the kernel counts no region.
 */
#include <errno.h>
#include <infiniband/verbs.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"
#include "vm.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE };

/* One block fills a slab of the smallest size but for less than another block. */
static const size_t big = T_SLAB - (T_SLAB >> 3);
static const size_t small = 64 << 10;

static struct rdm_stats stats(rdm_pool *pool)
{
	struct rdm_stats now = { .size = sizeof(now) };

	T_CHECK(!rdm_pool_stats(pool, &now));
	return now;
}

static int add(rdm_pool *pool, const struct t_wire *wire)
{
	int rail = rdm_pool_add_verbs(pool, wire->device.pd, ACCESS);

	T_CHECKF(rail >= 0, "rdm_pool_add_verbs: %m");
	return rail;
}

static void destroy(rdm_pool *pool)
{
	T_CHECKF(!rdm_pool_destroy(pool), "rdm_pool_destroy: %m");
	T_CHECKF(!t_kernel_mrs("rxe"), "%zu regions are left", t_kernel_mrs("rxe"));
}

static void write_over(const struct t_wire *wire, int rail, void *from, void *to)
{
	static uint64_t id;

	T_CHECK(t_wire_write(wire, rail, from, to, small, ++id));
}

/* A protection domain is to be freed before its pool. */
static void wrong_order(void)
{
	rdm_pool *pool = t_pool("order", RDM_BACKING_ANON, RDM_FORK_HOLE, T_SLAB, 0);
	struct t_wire wire;
	void *block[2];
	int rail;

	t_wire_open(&wire, "rxe0");
	rail = add(pool, &wire);
	block[0] = t_malloc(pool, big);
	T_CHECK(ibv_dealloc_pd(wire.device.pd) == EBUSY);
	t_say("ibv_dealloc_pd with slabs registered: EBUSY");
	block[1] = t_malloc(pool, big);
	T_CHECK(stats(pool).slabs == 2 && t_kernel_mrs("rxe0") == 2);
	write_over(&wire, rail, block[0], block[1]);
	T_CHECK(!rdm_pool_remove_rail(pool, rail));
	T_CHECK(!t_kernel_mrs("rxe0"));
	t_wire_close(&wire);
	rdm_free(block[0]);
	rdm_free(block[1]);
	destroy(pool);
}

/* Two protection domains of one device. */
static void two_rails(void)
{
	rdm_pool *pool = t_pool("rails", RDM_BACKING_ANON, RDM_FORK_HOLE, T_SLAB, 0);
	struct t_wire wire[2];
	struct rdm_key key[2];
	void *block[3];
	int rail[2];

	block[0] = t_malloc(pool, big);
	for (int i = 0; i < 2; i++) {
		t_wire_open(&wire[i], "rxe0");
		rail[i] = add(pool, &wire[i]);
	}
	block[1] = t_malloc(pool, big);
	T_CHECK(t_kernel_mrs("rxe0") == 4);
	for (int i = 0; i < 2; i++) {
		T_CHECK(!rdm_key(block[1], rail[i], &key[i]));
		write_over(&wire[i], rail[i], block[0], block[1]);
	}
	T_CHECK(key[0].lkey != key[1].lkey);
	T_CHECK(!rdm_pool_remove_rail(pool, rail[0]));
	t_wire_close(&wire[0]);
	block[2] = t_malloc(pool, big);
	T_CHECK(t_kernel_mrs("rxe0") == 3);
	write_over(&wire[1], rail[1], block[0], block[2]);
	T_FAILS(rdm_key(block[0], rail[0], &key[0]) == -1, ENOENT);
	for (int i = 0; i < 3; i++)
		rdm_free(block[i]);
	destroy(pool);
	t_wire_close(&wire[1]);
}

/* The second rail refuses the third slab: when it is added, and when the pool grows. */
static void third_slab(void)
{
	rdm_pool *pool = t_pool("third", RDM_BACKING_ANON, RDM_FORK_HOLE, T_SLAB, 0);
	struct t_recorder *recorder = t_recorder_new("refuses");
	struct t_wire wire;
	void *block[3];
	int rail;

	t_wire_open(&wire, "rxe0");
	rail = add(pool, &wire);
	for (int i = 0; i < 3; i++)
		block[i] = t_malloc(pool, big);
	recorder->fail_reg = 3;
	recorder->fail_errno = ENOSPC;
	T_FAILS(rdm_pool_add_rail(pool, &recorder->ops, recorder) == -1, ENOSPC);
	T_CHECK(recorder->regs >= 2 && !recorder->live);
	T_CHECK(stats(pool).rails == 1 && t_kernel_mrs("rxe0") == 3);

	rdm_free(block[2]);
	T_CHECK(!rdm_pool_trim(pool, 0));
	T_CHECK(t_kernel_mrs("rxe0") == 2);
	T_CHECK(rdm_pool_add_rail(pool, &recorder->ops, recorder) >= 0);
	recorder->fail_reg = 1;
	T_FAILS((block[2] = rdm_malloc(pool, big)) == NULL, ENOSPC);
	T_CHECK(recorder->live == 2 && t_kernel_mrs("rxe0") == 2);
	write_over(&wire, rail, block[0], block[1]);
	block[2] = t_malloc(pool, big);
	T_CHECK(recorder->live == 3 && t_kernel_mrs("rxe0") == 3);
	for (int i = 0; i < 3; i++)
		rdm_free(block[i]);
	destroy(pool);
	T_CHECK(!recorder->live);
	t_recorder_free(recorder);
	t_wire_close(&wire);
}

static void shell(const char *command)
{
	T_CHECKF(!system(command), "%s", command);
}

static pid_t start(const char *command)
{
	char *const argv[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
	pid_t pid;

	T_CHECK(!posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ));
	return pid;
}

/*
 * soft-RoCE gives nothing back by force: whoever deletes the device waits until
 * the last user has closed it. So the pool meets a device that is going.
 */
static void device_goes(const char *delete, const char *gone, bool still_works)
{
	rdm_pool *pool = t_pool("goes", RDM_BACKING_ANON, RDM_FORK_HOLE, T_SLAB, 0);
	struct t_wire stays, goes;
	void *block[3];
	int rail[2], status;
	pid_t deleter;

	shell("ip link add d0 type dummy && ip link set d0 up");
	if (system("rdma link add rxe1 type rxe netdev d0")) {
		shell("ip link delete d0");
		t_skip("this kernel has no `rdma link add`");
	}
	t_wire_open(&stays, "rxe0");
	t_wire_open(&goes, "rxe1");
	rail[0] = add(pool, &stays);
	rail[1] = add(pool, &goes);
	block[0] = t_malloc(pool, big);
	block[1] = t_malloc(pool, small);
	write_over(&goes, rail[1], block[0], block[1]);
	T_CHECK(t_kernel_mrs("rxe1") == 1);

	deleter = start(delete);
	while (system(gone))
		;
	T_CHECK(waitpid(deleter, &status, WNOHANG) == 0);
	t_say("`%s` waits for this process", delete);
	block[2] = t_malloc(pool, big);
	T_CHECK(stats(pool).slabs == 2);
	write_over(&stays, rail[0], block[0], block[2]);
	T_CHECK(t_wire_write(&goes, rail[1], block[0], block[2], small, 1) == still_works);
	T_CHECK(t_audit(pool) == 0);
	T_CHECK(!rdm_pool_remove_rail(pool, rail[1]));
	t_wire_close(&goes);
	T_CHECK(waitpid(deleter, &status, 0) == deleter && !status);
	T_CHECK(system("rdma link | grep -q rxe1") != 0);
	write_over(&stays, rail[0], block[2], block[1]);
	for (int i = 0; i < 3; i++)
		rdm_free(block[i]);
	destroy(pool);
	t_wire_close(&stays);
}

static void device_deleted(void)
{
	device_goes("rdma link delete rxe1", "! rdma link | grep -q rxe1", true);
	shell("ip link delete d0");
}

static void netdev_deleted(void)
{
	device_goes("ip link delete d0", "! ip link show d0 >/dev/null 2>&1", false);
}

static void all_accesses(void)
{
	static const struct {
		const char *name;
		int access;
	} accesses[] = {
		{ "read-only", 0 },
		{ "local write", IBV_ACCESS_LOCAL_WRITE },
		{ "remote read", IBV_ACCESS_REMOTE_READ },
		{ "remote write", IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE },
		{ "atomic", IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_ATOMIC },
		{ "relaxed ordering", IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING },
	};
	rdm_pool *pool = t_pool("access", RDM_BACKING_ANON, RDM_FORK_HOLE, T_SLAB, 0);
	int rail[COUNT(accesses)];
	struct t_wire wire;
	char *block;

	t_wire_open(&wire, "rxe0");
	block = t_malloc(pool, small);
	for (size_t i = 0; i < COUNT(accesses); i++) {
		rail[i] = rdm_pool_add_verbs(pool, wire.device.pd, accesses[i].access);
		T_CHECKF(rail[i] >= 0, "%s: %m", accesses[i].name);
		t_say("registered for: %s", accesses[i].name);
	}
	T_CHECK(t_kernel_mrs("rxe0") == COUNT(accesses));
	T_CHECK(t_wire_write(&wire, rail[3], block, block + small / 2, small / 2, 1));
	/* Nobody may write from afar alone. */
	T_FAILS(rdm_pool_add_verbs(pool, wire.device.pd, IBV_ACCESS_REMOTE_WRITE) == -1, EINVAL);
	T_CHECK(t_kernel_mrs("rxe0") == COUNT(accesses));
	rdm_free(block);
	destroy(pool);
	t_wire_close(&wire);
}

/* The pool has room for two slabs with this device, and says what the third lacks. */
static int two_slabs_of_three(void *arg)
{
	rdm_pool *pool = t_pool("limit", RDM_BACKING_ANON, RDM_FORK_HOLE, T_SLAB, 0);
	struct t_wire wire;
	void *block[2];

	(void)arg;
	t_wire_open(&wire, "rxe0");
	add(pool, &wire);
	for (int i = 0; i < 2; i++)
		block[i] = t_malloc(pool, big);
	T_CHECK(!rdm_malloc(pool, big));
	T_CHECK(t_kernel_mrs("rxe0") == 2 && stats(pool).slabs == 2);
	write_over(&wire, 0, block[0], block[1]);
	for (int i = 0; i < 2; i++)
		rdm_free(block[i]);
	destroy(pool);
	t_wire_close(&wire);
	return T_PASS;
}

static int as_a_user(void *arg)
{
	const struct rlimit limit = { 3 * T_SLAB - 1, 3 * T_SLAB - 1 };

	T_CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
	T_CHECK(!setresgid(65534, 65534, 65534) && !setresuid(65534, 65534, 65534));
	return two_slabs_of_three(arg);
}

static void memlock_too_small(void)
{
	struct t_caught caught;

	shell("chmod a+rw /dev/infiniband/*");
	t_catch(&caught, as_a_user, NULL);
	t_say("%s", caught.err);
	if (strstr(caught.err, strerror(EINVAL)))
		t_skip("this kernel's rdma_rxe says EINVAL whatever was wrong");
	t_caught_line(&caught, "RLIMIT_MEMLOCK", "ulimit -l");
	T_CHECK(t_lines(caught.err) == 1);
}

#define CGROUP "/sys/fs/cgroup/rdmalloc"

static int in_the_group(void *arg)
{
	shell("echo $PPID >" CGROUP "/cgroup.procs");
	return two_slabs_of_three(arg);
}

/* Besides two regions there are a protection domain, two queue pairs, two completion queues. */
static void cgroup_too_small(void)
{
	struct t_caught caught;

	if (system("mount -t cgroup2 cgroup /sys/fs/cgroup && grep -qw rdma "
		   "/sys/fs/cgroup/cgroup.controllers"))
		t_skip("this kernel has no rdma controller for cgroups");
	shell("echo +rdma >/sys/fs/cgroup/cgroup.subtree_control && mkdir " CGROUP
	      " && echo rxe0 hca_handle=8 hca_object=7 >" CGROUP "/rdma.max");
	t_catch(&caught, in_the_group, NULL);
	t_say("%s", caught.err);
	t_caught_line(&caught, "rdma.max", NULL);
	T_CHECK(t_lines(caught.err) == 1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "order", wrong_order },         { "rails", two_rails },
		{ "third", third_slab },          { "deleted", device_deleted },
		{ "netdev", netdev_deleted },     { "access", all_accesses },
		{ "memlock", memlock_too_small }, { "cgroup", cgroup_too_small },
	};

	for (size_t i = 0; argc == 2 && i < COUNT(cases); i++) {
		if (strcmp(argv[1], cases[i].name) != 0)
			continue;
		cases[i].run();
		return T_PASS;
	}
	T_CHECKF(false, "there is no such case");
}
