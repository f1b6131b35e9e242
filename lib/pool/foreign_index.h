/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_FOREIGN_INDEX_H
#define RDM_FOREIGN_INDEX_H

/*
 * Which foreign memory (foreign.h) there is, by address. It is changed under the quiesce lock, by
 * foreign.c, and read without one: what was found counts if nothing has changed meanwhile.
 * Fork handlers go from record to record.
 */

#include "pool/foreign.h"

/* 0, or an errno value: EINVAL, there is none; as rdm_key() otherwise. */
int rdm_foreign_key(const void *ptr, size_t rail, struct rdm_key *key);

/* The oldest record that covers the range: whoever asked for a part of one finds the same one again. */
struct rdm_foreign *rdm_foreign_find(uintptr_t start, uintptr_t end);
/* The same of one pool, without the lock; NULL: there is none, or it is changing. */
struct rdm_foreign *rdm_foreign_find_quickly(const struct rdm_pool *pool, uintptr_t from,
					     uintptr_t to, unsigned *seen);
/* Whether anything has changed since: then the record may be another range's by now. */
bool rdm_foreign_has_changed(unsigned seen);

/* For one more; false: there is no memory. */
bool rdm_foreign_have_room(void);
/* A record without a length gets one, and is there. */
void rdm_foreign_insert(struct rdm_foreign *record, size_t length);
void rdm_foreign_take_out(struct rdm_foreign *record);

/*
 * For fork handlers, and under the lock: the record after that one, NULL for the first; NULL: there
 * is none. False: a thread that a signal handler has interrupted is changing the records.
 */
bool rdm_foreign_rests(void);
struct rdm_foreign *rdm_foreign_next(const struct rdm_foreign *before);
/* In a child: all are the parent's. */
void rdm_foreign_postfork_child(void);

#endif
