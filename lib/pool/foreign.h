/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FOREIGN_H
#define RDM_FOREIGN_H

/*
 * Memory that programs bring and have registered with the rails of a pool: which there is, who
 * uses it, its keys. Records are changed under the quiesce lock; look-ups take no lock, and no
 * record's memory is ever given back. Nothing here maps or unmaps the program's memory, and
 * fork handlers, which read the records, come to them by rdm_foreign_next().
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/pool.h"

struct rdm_foreign {
	struct rdm_pool *pool;
	char *base; /* as the program says */
	size_t length;
	char *kept; /* of it, whole pages that children do not inherit */
	size_t kept_length;
	uint64_t born;          /* older ones have lower numbers */
	_Atomic size_t uses;    /* rdm_register() less rdm_deregister(); 0: nobody may begin */
	_Atomic unsigned keyed; /* rails that mr[] is valid of, a bit for each */
	_Atomic bool inherited; /* in a child: it was the parent's */
	struct rdm_mr mr[RDM_RAILS_MAX];
	char *shadow;             /* snapshot.c: the child's copy, while fork() runs */
	struct rdm_foreign *next; /* of those that are unused */
};

/* 0, or an errno value: EINVAL, there is none; as rdm_key() otherwise. */
int rdm_foreign_key(const void *ptr, size_t rail, struct rdm_key *key);

/* All rails of a pool, from now on: as rdm_slabs_attach(), and so on. */
int rdm_foreign_attach(struct rdm_pool *pool, int rail);
int rdm_foreign_detach(struct rdm_pool *pool, int rail);
/* How many registrations of a pool are in use. */
size_t rdm_foreign_count(const struct rdm_pool *pool);
/* Ends all of a pool, whoever uses them. 0 or an errno value: then some are still there. */
int rdm_foreign_end(struct rdm_pool *pool);

/*
 * For fork handlers: the record after that one, NULL for the first; NULL: there is none.
 * False: a thread that a signal handler has interrupted is changing the records.
 */
bool rdm_foreign_rests(void);
struct rdm_foreign *rdm_foreign_next(const struct rdm_foreign *before);
/* In a child: all are the parent's. */
void rdm_foreign_postfork_child(void);

#endif
