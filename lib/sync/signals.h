/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_SIGNALS_H
#define RDM_SIGNALS_H

/*
 * Signals wait for as long as a handler, which may fork, must not see what the calling thread is
 * about. Its own doing is delivered: a sandbox may answer a system call with SIGSYS. Any thread,
 * no lock.
 */

#include <signal.h>

static inline void rdm_signals_block(sigset_t *before)
{
	static const int own_doing[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigset_t most;

	sigfillset(&most);
	for (unsigned i = 0; i < sizeof(own_doing) / sizeof(own_doing[0]); i++)
		sigdelset(&most, own_doing[i]);
	pthread_sigmask(SIG_SETMASK, &most, before);
}

static inline void rdm_signals_restore(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

#endif
