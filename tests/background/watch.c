/* SPDX-License-Identifier: BSD-2-Clause */
#include "watch.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "pool/pool.h"
#include "sync/quiesce.h"

_Atomic(size_t) watch_made, watch_refused;

static sem_t decided;
static pthread_once_t once = PTHREAD_ONCE_INIT;

void __real_rdm_watermark_made(struct rdm_slab_set *set, bool made);
void __wrap_rdm_watermark_made(struct rdm_slab_set *set, bool made);
bool __real_rdm_watermark_answered(struct rdm_slab_set *set, size_t more);
bool __wrap_rdm_watermark_answered(struct rdm_slab_set *set, size_t more);

void __wrap_rdm_watermark_made(struct rdm_slab_set *set, bool made)
{
	__real_rdm_watermark_made(set, made);
	made ? watch_made++ : watch_refused++;
	sem_post(&decided);
}

bool __wrap_rdm_watermark_answered(struct rdm_slab_set *set, size_t more)
{
	bool answered = __real_rdm_watermark_answered(set, more);

	sem_post(&decided);
	return answered;
}

static void check_thread(struct watch *watch)
{
	char name[16];
	sigset_t mask;

	T_CHECK(!pthread_getname_np(pthread_self(), name, sizeof(name)));
	T_CHECKF(!strcmp(name, "rdmalloc"), "registration in a thread called %s", name);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	T_CHECK(sigismember(&mask, SIGINT) && sigismember(&mask, SIGCHLD));
	if (!watch->others++)
		watch->other = pthread_self();
	T_CHECK(pthread_equal(watch->other, pthread_self()));
}

static void on_reg(struct t_recorder *recorder, void *addr, size_t length)
{
	struct watch *watch = recorder->user;

	(void)addr;
	(void)length;
	if (pthread_equal(pthread_self(), watch->self)) {
		watch->own++;
		recorder->fail_reg = watch->fail_own;
		return;
	}
	check_thread(watch);
	recorder->fail_reg = watch->fail_others;
	if (watch->on_other)
		watch->on_other(watch);
}

static void make_semaphore(void)
{
	T_CHECK(!sem_init(&decided, 0, 0));
}

struct watch *watch_new(const char *name)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	T_CHECK(watch);
	pthread_once(&once, make_semaphore);
	watch->self = pthread_self();
	watch->recorder = t_recorder_new(name);
	watch->recorder->on_reg = on_reg;
	watch->recorder->user = watch;
	watch->recorder->fail_errno = ENOSPC;
	return watch;
}

void watch_free(struct watch *watch)
{
	t_recorder_free(watch->recorder);
	free(watch);
}

rdm_pool *watch_pool(struct watch *watch, size_t watermark, size_t limit)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	rdm_pool *pool;

	config.name = watch->recorder->ops.name;
	config.slab_size = T_SLAB;
	config.watermark = watermark;
	config.limit = limit;
	config.fork = RDM_FORK_COPY;
	pool = rdm_pool_create(&config);
	T_CHECKF(pool, "rdm_pool_create: %s", strerror(errno));
	t_recorder_add(watch->recorder, pool);
	return pool;
}

void watch_settle(rdm_pool *pool)
{
	while (rdm_watermark_turn(&pool->slabs))
		while (sem_wait(&decided))
			T_CHECK(errno == EINTR);
	/* It was inside when it decided. */
	T_CHECK(rdm_quiesce_enter("test"));
	rdm_quiesce_leave(0);
}
