/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "sync/workers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#ifdef HAVE_NUMA
#include <numaif.h>
#endif

#include "base/contract.h"
#include "sync/quiesce.h"

#define CPUS_MAX ((size_t)1 << 20)

unsigned rdm_workers_cpus(void)
{
	/* EINVAL: the kernel has room for more CPUs than the set. */
	for (size_t cpus = CPU_SETSIZE; cpus <= CPUS_MAX; cpus *= 4) {
		size_t size = CPU_ALLOC_SIZE(cpus);
		cpu_set_t *set = CPU_ALLOC(cpus);
		int count = 0;

		if (!set)
			break;
		if (!sched_getaffinity(0, size, set))
			count = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (count > 0)
			return (unsigned)count;
	}
	return 1;
}

#ifdef HAVE_NUMA

#define NODES_MAX 1024
#define NODES_WORD (8 * sizeof(unsigned long))

/* A new thread inherits the policy. */
int rdm_workers_node(void)
{
	unsigned cpu, node;
	int mode;

	if (get_mempolicy(&mode, NULL, 0, NULL, 0) || mode != MPOL_DEFAULT || getcpu(&cpu, &node) ||
	    node >= NODES_MAX)
		return -1;
	return (int)node;
}

void rdm_workers_prefer(int node)
{
	unsigned long nodes[NODES_MAX / NODES_WORD] = { 0 };

	if (node < 0)
		return;
	nodes[(unsigned)node / NODES_WORD] = 1UL << (unsigned)node % NODES_WORD;
	/* Where it fails, memory from another node is as good as any. */
	(void)!set_mempolicy(MPOL_PREFERRED, nodes, NODES_MAX);
}

#else

int rdm_workers_node(void)
{
	return -1;
}

void rdm_workers_prefer(int node)
{
	(void)node;
}

#endif

static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
		  void *arg)
{
	sigset_t all, before;
	int error;

	rdm_assert(thread && start);
	/* A thread begins with the mask of the one that makes it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, attributes, start, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

static int create_detached(void *(*start)(void *), size_t stack)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error = pthread_attr_init(&attributes);

	if (error)
		return error;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (stack)
		pthread_attr_setstacksize(&attributes, stack);
	error = create(&thread, &attributes, start, NULL);
	pthread_attr_destroy(&attributes);
	return error;
}

int rdm_workers_detached(void *(*start)(void *), size_t stack)
{
	int error = create_detached(start, stack);

	rdm_assert(start);
	/* A program's own thread-local storage is part of the stack. */
	return error == EINVAL ? create_detached(start, 0) : error;
}

static void *run(void *arg)
{
	const struct rdm_workers *workers = arg;

	rdm_assert(workers->work);
	rdm_quiesce_help();
	rdm_workers_prefer(workers->node);
	workers->work(workers->context);
	return NULL;
}

void rdm_workers_start(struct rdm_workers *workers, unsigned wanted, void (*work)(void *context),
		       void *context)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(work);
	*workers = (struct rdm_workers){ .work = work,
					 .context = context,
					 .node = rdm_workers_node() };
	if (wanted > RDM_WORKERS_MAX)
		wanted = RDM_WORKERS_MAX;
	while (workers->count < wanted &&
	       !create(&workers->thread[workers->count], NULL, run, workers))
		workers->count++;
}

void rdm_workers_join(struct rdm_workers *workers)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(workers->count <= RDM_WORKERS_MAX);
	for (unsigned i = 0; i < workers->count; i++)
		pthread_join(workers->thread[i], NULL);
}
