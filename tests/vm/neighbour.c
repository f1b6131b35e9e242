/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data of the program's own beside a registered buffer, as in rdma-core#1222:
 * with malloc's memory and ibv_fork_init() in force both are on one page, and
 * the child dies when it reads its data. With a pool's memory it does not: no
 * page of the pool holds anything else, and policy copy gives the child the
 * pool's own blocks, too.
 */
#include <infiniband/verbs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rc.h"
#include "support.h"

static const char text[] = "the program's own";

/* How a child ends that reads the data: 0, or the signal. */
static int child_reads(const char *data)
{
	int status;
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (!pid)
		_exit(strcmp(data, text) != 0);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(WIFSIGNALED(status) || !WEXITSTATUS(status), "the child read something else");
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static int verdict(const char *what, const char *data)
{
	int signal = child_reads(data);

	t_say("%-46s %s", what, signal ? strsignal(signal) : "the child reads its data");
	return signal;
}

static bool same_page(const void *a, const void *b)
{
	return (uintptr_t)a / t_page() == (uintptr_t)b / t_page();
}

static void plain(const struct rc_device *device)
{
	char *data = NULL, *buffer = NULL;
	struct ibv_mr *mr;

	/* What was freed before lies anywhere; when it is used up, blocks are neighbours. Those
	 * on the way stay allocated. */
	for (unsigned i = 0; i < 1000 && !(data && same_page(data, buffer)); i++) {
		data = calloc(1, 64);
		buffer = calloc(1, 256);
		T_CHECK(data && buffer);
	}
	T_CHECKF(same_page(data, buffer), "malloc gave no neighbours: nothing was tested");
	strcpy(data, text);
	mr = ibv_reg_mr(device->pd, buffer, 256, IBV_ACCESS_LOCAL_WRITE);
	T_CHECKF(mr, "ibv_reg_mr: %m");
	T_CHECKF(verdict("malloc, ibv_reg_mr of the buffer beside it:", data) == SIGSEGV,
		 "fork init is not in force: nothing was tested");
	T_CHECK(!ibv_dereg_mr(mr));
	free(buffer);
	free(data);
}

static void pooled(const struct rc_device *device)
{
	rdm_pool *pool = t_pool("neighbour", RDM_BACKING_ANON, RDM_FORK_COPY, T_SLAB, 0);
	char *data = calloc(1, 64);
	char *block, *buffer;

	T_CHECK(data);
	T_CHECKF(rdm_pool_add_verbs(pool, device->pd, IBV_ACCESS_LOCAL_WRITE) == 0,
		 "rdm_pool_add_verbs: %m");
	block = t_malloc(pool, 64);
	buffer = t_malloc(pool, 256);
	T_CHECK(!same_page(data, buffer));
	strcpy(data, text);
	strcpy(block, text);
	T_CHECK(!verdict("malloc, the buffer is a pool's:", data));
	T_CHECK(!verdict("a block of the pool (policy copy):", block));
	rdm_free(buffer);
	rdm_free(block);
	free(data);
	T_CHECK(!rdm_pool_destroy(pool));
}

int main(void)
{
	struct rc_device device;
	int error;

	setenv("RDMAV_FORK_SAFE", "1", 1);
	error = rc_device_open(&device);
	T_CHECKF(!error, "no RDMA device: %s", strerror(error));
	/* Where it says unneeded, libibverbs 44 marks the pages all the same if it is told to. */
	t_say("RDMAV_FORK_SAFE=1, ibv_is_fork_initialized: %s",
	      (const char *[]){ "disabled", "enabled", "unneeded" }[ibv_is_fork_initialized()]);
	plain(&device);
	pooled(&device);
	T_CHECK(!rc_device_close(&device));
	return T_PASS;
}
