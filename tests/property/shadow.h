/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_SHADOW_H
#define TEST_SHADOW_H

/* The shadow model: who owns each 64 bytes of the reserve, and what is in each block. */

#include "support.h"

enum { SHADOW_POOLS = 3, SHADOW_RAILS = 2 };
enum { SHADOW_FREE, SHADOW_LIVE, SHADOW_TAKEN };

struct shadow_pool {
	const char *name;
	unsigned backing, fork;
	int rails;
	rdm_pool *pool;
	struct t_recorder *recorder[SHADOW_RAILS];
};
extern struct shadow_pool shadow_pools[SHADOW_POOLS];

struct shadow_block {
	_Atomic(int) state;
	int was;
	unsigned pool;
	unsigned char *addr;
	size_t size, usable;
	uint64_t id;
	bool aligned; /* asked for with an alignment: its size does not tell its class */
};

/* When the pools exist and before the first block. */
void shadow_start(void);
/* A block that the library has just given out: checks it, owns it, fills it. */
void shadow_adopt(struct shadow_block *block, void *addr, size_t size, size_t alignment);
/* Before the library gets it back. */
void shadow_disown(const struct shadow_block *block);
/* What was filled in below limit is still there. */
void shadow_verify(const struct shadow_block *block, size_t limit);
/* What the pool's fork policy promises, in a child. */
void shadow_verify_inherited(const struct shadow_block *block);

#endif
