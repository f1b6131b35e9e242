/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FORK_H
#define RDM_FORK_H

/*
 * The one place that calls every module's fork handlers:
 *
 *   quiesce: closes it and waits for who is inside; code inside may call malloc
 *   gate: closes it and waits until the heaps rest
 *   reserve: everything is MADV_DONTFORK again
 *   sets, and the guest's lock: while it is made ready what children get
 *   the guest: what programs registered themselves
 *   snapshot: the copies for children
 *
 * From the end of prepare to the clone no lock of ours is held, and nobody waits for us who may
 * have one of the C library's: fork() waits for these meanwhile (gate.h). Several threads may
 * be forking, and a signal handler while its thread does; what is made ready is made by each of
 * them, and dropped by the last.
 *
 * A signal handler may have interrupted a call of ours. It waits for nobody for long, because that
 * one may wait for the call. Where it finds somebody inside, or no lock to be had, its child
 * gets heaps that are shut, or holes where something is registered.
 *
 * The child mends its holes first. The handlers are registered before any ordinary
 * constructor runs: another library's child handler comes later and finds no hole.
 */

#include <stdbool.h>

/* Registers the handlers, once; a constructor does it when the library loads. */
void rdm_fork_init(void);

/*
 * Handlers of a module above, which has one lock more, that is taken after the sets' locks and
 * released before them. They are invited once, by a constructor.
 */
struct rdm_fork_guest {
	/* False: it is another thread's now. */
	bool (*try_lock)(void);
	void (*unlock)(void);
	/* With the locks; before the snapshots are taken. First: no other fork has made it ready. */
	void (*prefork)(const void *stack, bool first);
	/* In a child, whose other threads may have been inside the lock. */
	void (*postfork_child)(void);
};
/* Whether processes are being made for which all is ready; it begins and ends with the guest's lock. */
bool rdm_fork_is_ready(void);
/* Waits for their end, with no lock, but not for ever: fork() may wait for a lock that the caller has. */
void rdm_fork_await(void);

void rdm_fork_invite(const struct rdm_fork_guest *handlers);

/*
 * What the handlers do, around what makes a process as fork() does, but calls no handlers. `stack`
 * is where the child goes on.
 */
struct rdm_fork {
	unsigned era; /* of the process that it began in */
	bool whole;   /* nobody is inside */
	bool ready;   /* what the child gets is made ready */
};
void rdm_fork_begin(struct rdm_fork *fork, const void *stack);
void rdm_fork_end_in_parent(const struct rdm_fork *fork);
void rdm_fork_end_in_child(const struct rdm_fork *fork);

#endif
