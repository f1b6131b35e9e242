/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RLIMIT_MEMLOCK too small for an io_uring rail: ENOMEM and one line with the
 * limit and the need, nothing stays registered; raised, the pool works.
 */
#include "support.h"
#include "sparse.h"

#include <errno.h>
#include <grp.h>
#include <liburing.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* The kernel does not count what a process with CAP_IPC_LOCK pins. */
static void become_ordinary(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (geteuid() == 0)
		T_CHECK(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY));
	T_CHECK(!syscall(SYS_capset, &header, data));
	/* Which changing the user took away, and with it /proc/self. */
	T_CHECK(!prctl(PR_SET_DUMPABLE, 1));
}

static void set_limit(rlim_t soft, rlim_t hard)
{
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = hard };

	T_CHECKF(!setrlimit(RLIMIT_MEMLOCK, &limit), "setrlimit: %s", strerror(errno));
}

struct setting {
	rlim_t hard;
	bool late; /* the rail comes to a pool that has slabs */
};

/* Runs to the first failure; the line about it is on stderr. */
static int too_small(void *arg)
{
	const struct setting *setting = arg;
	struct rdm_stats stats = { .size = sizeof(stats) };
	struct io_uring ring;
	rdm_pool *pool;
	void *block = NULL, *volatile none;

	become_ordinary();
	set_limit(T_MIB, setting->hard);
	pool = t_pool("memlock", RDM_BACKING_ANON, 0, T_SLAB, 0);
	T_CHECK(!io_uring_queue_init(4, &ring, 0));
	if (setting->late) {
		block = t_malloc(pool, 1000);
		T_FAILS(rdm_pool_add_uring(pool, &ring, 8) == -1, ENOMEM);
		T_CHECK(!rdm_pool_stats(pool, &stats) && stats.slabs == 1 && !stats.rails);
	} else {
		T_CHECK(rdm_pool_add_uring(pool, &ring, 8) == 0);
		T_FAILS(!(none = rdm_malloc(pool, 1000)), ENOMEM);
		T_CHECK(!rdm_pool_stats(pool, &stats) && !stats.slabs && !stats.slab_bytes);
	}
	set_limit(setting->hard, setting->hard);
	if (setting->late)
		T_CHECK(rdm_pool_add_uring(pool, &ring, 8) == 0);
	else
		block = t_malloc(pool, 1000);
	T_CHECK(!t_audit(pool));
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
	io_uring_queue_exit(&ring);
	return T_PASS;
}

int main(void)
{
	struct setting setting = { .hard = 8 * T_MIB };
	struct t_caught caught;
	struct rlimit limit;

	t_need_sparse_tables();
	T_CHECK(!getrlimit(RLIMIT_MEMLOCK, &limit));
	if (geteuid() && limit.rlim_max < setting.hard)
		t_skip("the hard RLIMIT_MEMLOCK is %llu KiB, the test needs 8192",
		       (unsigned long long)limit.rlim_max / 1024);
	for (int late = 0; late < 2; late++) {
		setting.late = late;
		t_catch(&caught, too_small, &setting);
		t_caught_line(&caught, "RLIMIT_MEMLOCK", "1024 KiB");
		T_CHECKF(strstr(caught.err, "2 MiB"), "the need is not in: %s", caught.err);
		t_say("%s", caught.err);
	}
	return T_PASS;
}
