/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FOREIGN_H
#define RDM_FOREIGN_H

/*
 * Memory that programs bring and have registered with the rails of a pool: who uses it, from the
 * first rdm_register() to the last rdm_deregister(). Under the quiesce lock, but for calls that
 * only count. No record's memory is ever given back, for who finds it (foreign_index.h) takes no
 * lock. Nothing here maps or unmaps the program's memory.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/pool.h"

struct rdm_foreign {
	/* Read without a lock, also where the record is being used again. */
	struct rdm_pool *_Atomic pool;
	char *_Atomic base; /* as the program says */
	_Atomic size_t length;
	char *kept; /* of it, whole pages that children do not inherit */
	size_t kept_length;
	_Atomic uint64_t born;  /* older ones have lower numbers */
	_Atomic size_t uses;    /* rdm_register() less rdm_deregister(); 0: nobody may begin */
	_Atomic unsigned keyed; /* rails that mr[] is valid of, a bit for each */
	_Atomic bool inherited; /* in a child: it was the parent's */
	struct rdm_mr mr[RDM_RAILS_MAX];
	char *shadow;             /* snapshot.c: the child's copy, while fork() runs */
	struct rdm_foreign *next; /* of those that are unused */
};

/* All rails of a pool, from now on: as rdm_slabs_attach(), and so on. */
int rdm_foreign_attach(struct rdm_pool *pool, int rail);
int rdm_foreign_detach(struct rdm_pool *pool, int rail);
/* How many registrations of a pool are in use. */
size_t rdm_foreign_count(const struct rdm_pool *pool);
/* Ends all of a pool, whoever uses them. 0 or an errno value: then some are still there. */
int rdm_foreign_end(struct rdm_pool *pool);

#endif
