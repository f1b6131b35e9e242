/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_WATCH_H
#define TEST_WATCH_H

/* A rail that notes who registers, and the end of what the background thread does. */
#include "support.h"

struct watch {
	struct t_recorder *recorder;
	pthread_t self; /* who made the watch */
	_Atomic(size_t) own, others;
	_Atomic(pthread_t) other; /* the first */
	/* Called in the other threads. */
	void (*on_other)(struct watch *watch);
	_Atomic(bool) fail_others, fail_own;
};

struct watch *watch_new(const char *name);
void watch_free(struct watch *watch);

/* A pool of the smallest slabs with the rail. */
rdm_pool *watch_pool(struct watch *watch, size_t watermark, size_t limit);
/* Until the background thread owes the pool nothing. */
void watch_settle(rdm_pool *pool);

/* Slabs that the background thread made, and could not make. */
extern _Atomic(size_t) watch_made, watch_refused;

#endif
