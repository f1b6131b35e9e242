/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stranger registers and deregisters pieces of a slab, from several threads,
 * with ibv_fork_init() in force. It has a copy of libibverbs of its own, as a
 * plugin has that was linked with one: this copy does not know the pool's
 * regions, and makes what it deregisters MADV_DOFORK again. After the next fork
 * the parent must be coherent and the audit clean. The same with the library's
 * step dropped that repairs it (RDMALLOC_ABLATE=reassert) must go wrong.
 */
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"
#include "support.h"
#include "vm.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { THREADS = 4, PIECES = 32 };

static const struct probe_engine *const engines[] = {
	&probe_verbs_send,  &probe_verbs_recv, &probe_verbs_read,
	&probe_verbs_write, &probe_vmsplice,
};

/* The stranger's copy of libibverbs. */
static struct {
	struct ibv_pd *pd;
	struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t length, int access);
	int (*dereg_mr)(struct ibv_mr *mr);
} stranger;

static struct probe_memory pool_memory;
static size_t spoilt, left;

static void *symbol(void *library, const char *name)
{
	void *found = dlsym(library, name);

	T_CHECKF(found, "libibverbs has no %s", name);
	return found;
}

static void meet_stranger(void)
{
	void *library = dlmopen(LM_ID_NEWLM, "libibverbs.so.1", RTLD_NOW);
	struct ibv_device **(*get_device_list)(int *n);
	struct ibv_context *(*open_device)(struct ibv_device * device);
	struct ibv_pd *(*alloc_pd)(struct ibv_context * context);
	struct ibv_device **list;

	T_CHECKF(library, "dlmopen: %s", dlerror());
	get_device_list = symbol(library, "ibv_get_device_list");
	open_device = symbol(library, "ibv_open_device");
	alloc_pd = symbol(library, "ibv_alloc_pd");
	stranger.reg_mr = symbol(library, "ibv_reg_mr");
	stranger.dereg_mr = symbol(library, "ibv_dereg_mr");
	list = get_device_list(NULL);
	T_CHECKF(list && list[0], "the stranger finds no device: %m");
	stranger.pd = alloc_pd(open_device(list[0]));
	T_CHECKF(stranger.pd, "the stranger has no protection domain: %m");
}

struct visit {
	struct rdm_key slab;
	uint64_t seed;
};

static void *register_pieces(void *argument)
{
	const struct visit *visit = argument;
	struct t_rng rng = { visit->seed };

	for (unsigned i = 0; i < PIECES; i++) {
		size_t length = t_log_uniform(&rng, 64, 64 << 10);
		size_t at = t_below(&rng, visit->slab.length - length + 1);
		struct ibv_mr *mr = stranger.reg_mr(stranger.pd, (char *)visit->slab.base + at,
						    length, IBV_ACCESS_LOCAL_WRITE);

		T_CHECKF(mr, "the stranger's ibv_reg_mr: %m");
		T_CHECK(!stranger.dereg_mr(mr));
	}
	return NULL;
}

/* Pages of the pool that a child would inherit. */
static size_t inheritable(rdm_pool *pool)
{
	struct rdm_audit audit = { .size = sizeof(audit) };

	T_CHECK(!rdm_pool_audit(pool, &audit));
	T_CHECK(audit.violations == audit.inheritable);
	return audit.inheritable;
}

static int get(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	struct visit visit[THREADS];
	pthread_t thread[THREADS];

	T_CHECK(!pool_memory.get(context, device, buffer));
	for (unsigned i = 0; i < THREADS; i++) {
		/* Without a rail there is no key that says where the slab is. */
		visit[i].slab.base = (void *)((uintptr_t)buffer->addr & ~(T_SLAB - 1));
		visit[i].slab.length = T_SLAB;
		visit[i].seed = i;
		T_CHECK(!pthread_create(&thread[i], NULL, register_pieces, &visit[i]));
	}
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	spoilt += inheritable(buffer->owner);
	return 0;
}

static void put(void *context, struct probe_buffer *buffer)
{
	left += inheritable(buffer->owner);
	pool_memory.put(context, buffer);
}

static int once(void)
{
	const struct probe_memory memory = { .name = "a pool's", .get = get, .put = put };
	struct probe_outcome out[COUNT(engines)];
	unsigned lost = 0;

	setenv("RDMAV_FORK_SAFE", "1", 1);
	pool_memory = t_pool_memory("anon");
	meet_stranger();
	probe_run_all(engines, COUNT(engines), &probe_fork_lives, &memory, out);
	t_say("ibv_is_fork_initialized: %s",
	      (const char *[]){ "disabled", "enabled", "unneeded" }[ibv_is_fork_initialized()]);
	for (size_t i = 0; i < COUNT(engines); i++) {
		T_CHECKF(!out[i].reason[0], "%s: %s", engines[i]->name, out[i].reason);
		t_say("%-10s  %s", engines[i]->name, probe_verdict_name(out[i].verdict));
		lost += out[i].verdict == PROBE_LOST;
	}
	t_say("pages that a child would inherit: %zu after the stranger, %zu after the next fork",
	      spoilt, left);
	T_CHECKF(spoilt, "the stranger did no harm: nothing was tested");
	return lost || left ? T_FAIL : T_PASS;
}

static int run(const char *program, const char *step)
{
	int status;
	pid_t pid;

	t_say("\n%s%s:", step ? "without the step " : "the whole recipe", step ? step : "");
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid) {
		unsetenv("RDMALLOC_ABLATE");
		if (step)
			setenv("RDMALLOC_ABLATE", step, 1);
		execl("/proc/self/exe", program, "once", NULL);
		_exit(99);
	}
	T_CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

int main(int argc, char **argv)
{
	int ablated;

	if (argc == 2 && !strcmp(argv[1], "once"))
		return once();
	T_CHECK(run(argv[0], NULL) == T_PASS);
	ablated = run(argv[0], "reassert");
	T_CHECKF(ablated == T_FAIL, "that went well (status %d): this test tests nothing", ablated);
	return T_PASS;
}
