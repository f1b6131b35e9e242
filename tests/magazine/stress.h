/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_STRESS_H
#define TEST_STRESS_H

/*
 * Threads that allocate, free, hand blocks to each other, come and go, at full
 * speed. Each block bears a stamp of its owner's, looked at before it is freed:
 * a block that two threads have at once ends the test.
 */

#include "support.h"

enum { STRESS_POOLS = 2, STRESS_WORKERS = 8 };

struct stress {
	rdm_pool *pool[STRESS_POOLS];
	unsigned workers;    /* at most STRESS_WORKERS */
	unsigned lives;      /* threads that one worker is, one after the other */
	unsigned operations; /* of each */
	uint64_t seed;
};

/* Starts them; they end on their own. */
void stress_start(const struct stress *stress);
/* Until all have done their work. They have freed all blocks, and live. */
void stress_wait(void);
/* Lets them end. */
void stress_end(void);
/* Whether stress_wait() would not wait. */
bool stress_done(void);

#endif
