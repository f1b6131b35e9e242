/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_RAIL_H
#define RDM_RAIL_H

/*
 * A rail is one registrar with its context: a verbs protection domain, an
 * io_uring instance, or callbacks of the caller's. Here every call of a
 * registrar is made and explained. Called under the quiesce lock, by registration.c, by fill.c's
 * workers, each for rails of its own, and by who opens and closes rails; in a child by fork.c.
 */

#include <stdbool.h>
#include <stddef.h>

#include "rdmalloc.h"

struct rdm_rail {
	struct rdm_registrar registrar;
	void *context;
	/* Frees the context; NULL: it is the caller's. inherited: leave the device alone. */
	void (*close)(void *context, bool inherited);
	char hint[96]; /* other limits of this rail, for the line that explains a failure */
	bool used;
	bool closing; /* new slabs leave it out; it waits for its last deregistration */
};

/* 0 or an errno value, with a log line that says what to do. */
int rdm_rail_register(const struct rdm_rail *rail, void *addr, size_t length, struct rdm_mr *mr);
int rdm_rail_deregister(const struct rdm_rail *rail, void *addr, size_t length,
			const struct rdm_mr *mr);
/* Frees the slot; nothing is registered, or what is belongs to the parent process. */
void rdm_rail_close(struct rdm_rail *rail, bool inherited);

/* Built-in registrars fill a rail. 0 or an errno value, with a log line. */
struct ibv_pd;
struct io_uring;
int rdm_rail_open_verbs(struct rdm_rail *rail, struct ibv_pd *pd, int access);
int rdm_rail_open_uring(struct rdm_rail *rail, struct io_uring *ring, unsigned slots);

#endif
