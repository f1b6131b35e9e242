/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/background.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract.h"
#include "base/log.h"
#include "sync/cancel.h"
#include "sync/lock.h"
#include "sync/quiesce.h"
#include "sync/workers.h"

/* A registrar runs on it. */
#define STACK ((size_t)256 << 10)

static sem_t wake;
static atomic_bool woken;
static atomic_bool stopped;
/* Under the quiesce lock. */
static bool (*work)(void);
static bool started;
static bool registered; /* to stop it at exit() */
static bool complained; /* that there is no thread */
/* Held, inside the quiesce lock, for a step of the work. */
static struct rdm_lock busy = RDM_LOCK_INIT(RDM_RANK_BACKGROUND);

static bool step(void)
{
	bool more = false;

	rdm_quiesce_enter("the background thread");
	rdm_lock_take(&busy);
	if (!atomic_load(&stopped))
		more = work();
	rdm_lock_release(&busy);
	rdm_quiesce_leave(0);
	return more;
}

static void *run(void *arg)
{
	(void)arg;
	pthread_setname_np(pthread_self(), "rdmalloc");
	/* A registrar that runs here must not end it. */
	rdm_cancel_off();
	for (;;) {
		if (sem_wait(&wake))
			continue;
		atomic_store(&woken, false);
		while (step())
			;
	}
	return NULL;
}

static void stop(void)
{
	atomic_store(&stopped, true);
	/* A registrar that calls exit() may be the step that one would wait for. */
	if (rdm_quiesce_is_inside())
		return;
	rdm_lock_take(&busy);
	rdm_lock_release(&busy);
}

static int start(void)
{
	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!started);
	/* Not when the library loads: what a program has made since would be gone by then. */
	if (!registered && atexit(stop))
		return ENOMEM;
	registered = true;
	return rdm_workers_detached(run, STACK);
}

void rdm_background_start(bool (*new_work)(void))
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(new_work);
	if (started || atomic_load(&stopped))
		return;
	work = new_work;
	error = start();
	started = !error;
	if (error && !complained)
		rdm_log(RDM_LOG_WARN,
			"cannot start the background thread (%s): threads that allocate make all "
			"slabs themselves",
			strerror(error));
	complained = error;
}

void rdm_background_wake(void)
{
	if (!atomic_exchange(&woken, true))
		sem_post(&wake);
}

void rdm_background_open(void)
{
	sem_init(&wake, 0, 0);
	atomic_store(&woken, false);
	started = registered = complained = false;
}
