/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FORK_H
#define RDM_FORK_H

/*
 * The one place that calls every module's fork handlers, in lock order:
 *
 *   quiesce: waits for registrations; code under it may call malloc
 *   gate: waits until no thread is inside jemalloc
 *   magazines: the registry of threads' caches, then the depots
 *   slab sets: leaf locks, taken inside jemalloc's hooks
 *   reserve: everything is MADV_DONTFORK again
 *   the guest: the lock of what programs registered themselves
 *   snapshot: the copies for children
 *
 * The child mends its holes first. The handlers are registered before any ordinary
 * constructor runs: another library's child handler comes later and finds no hole.
 */

/* Registers the handlers, once; a constructor does it when the library loads. */
void rdm_fork_init(void);

/*
 * Handlers of a module above, which has one lock more: before the snapshots are taken, and after
 * the sets are done with. They are invited once, by a constructor.
 */
struct rdm_fork_guest {
	void (*prefork)(void);
	void (*postfork_parent)(void);
	void (*postfork_child)(void);
};
void rdm_fork_invite(const struct rdm_fork_guest *handlers);

#endif
