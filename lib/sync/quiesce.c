/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/quiesce.h"

#include <errno.h>
#include <pthread.h>

#include "base/ablate.h"
#include "base/log.h"
#include "sync/interrupted.h"

/* Held by the one who gets the lock next: a mutex alone goes to who asks last. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool inside;
static __thread bool forked_inside;
static bool gate_locked_by_fork, locked_by_fork;

bool rdm_quiesce_enter(const char *caller)
{
	if (inside) {
		rdm_log(RDM_LOG_ERROR,
			"%s: called by a registrar, which must not make or move slabs", caller);
		errno = EDEADLK;
		return false;
	}
	pthread_mutex_lock(&gate);
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&gate);
	inside = true;
	return true;
}

void rdm_quiesce_help(void)
{
	inside = true;
}

bool rdm_quiesce_is_inside(void)
{
	return inside;
}

int rdm_quiesce_leave(int error)
{
	inside = false;
	pthread_mutex_unlock(&lock);
	if (!error)
		return 0;
	errno = error;
	return -1;
}

void rdm_quiesce_prefork(void)
{
	forked_inside = inside;
	if (forked_inside)
		rdm_log(RDM_LOG_WARN,
			"fork() inside a registrar: its locks are the child's problem");
	else if (!rdm_ablated(RDM_ABLATE_QUIESCE)) {
		/* The child must not inherit a gate in somebody else's hands, either. */
		gate_locked_by_fork = rdm_lock_before_fork(&gate);
		locked_by_fork = rdm_lock_before_fork(&lock);
	}
}

void rdm_quiesce_postfork(void)
{
	if (forked_inside || rdm_ablated(RDM_ABLATE_QUIESCE))
		return;
	if (locked_by_fork)
		pthread_mutex_unlock(&lock);
	if (gate_locked_by_fork)
		pthread_mutex_unlock(&gate);
}
