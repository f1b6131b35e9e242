/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_LEDGER_H
#define TEST_LEDGER_H

/* The model: who owns each 64 bytes of the reserve, and what is in each block. */

#include "support.h"

enum { LEDGER_POOLS = 3, LEDGER_RAILS = 2 };
enum { LEDGER_FREE, LEDGER_LIVE, LEDGER_TAKEN };

struct ledger_pool {
	const char *name;
	unsigned backing, fork;
	int rails;
	rdm_pool *pool;
	struct t_recorder *recorder[LEDGER_RAILS];
};
extern struct ledger_pool ledger_pools[LEDGER_POOLS];

struct ledger_block {
	_Atomic(int) state;
	int was;
	unsigned pool;
	unsigned char *addr;
	size_t size, usable;
	uint64_t id;
	bool aligned; /* asked for with an alignment: its size does not tell its class */
};

/* When the pools exist and before the first block. */
void ledger_start(void);
/* A block that the library has just given out: checks it, owns it, fills it. */
void ledger_adopt(struct ledger_block *block, void *addr, size_t size, size_t alignment);
/* Before the library gets it back. */
void ledger_disown(const struct ledger_block *block);
/* What was filled in below limit is still there. */
void ledger_verify(const struct ledger_block *block, size_t limit);
/* What the pool's fork policy promises, in a child. */
void ledger_verify_inherited(const struct ledger_block *block);

#endif
