/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_EMPTY_H
#define BENCH_EMPTY_H

#include "rdmalloc.h"

/* rdm_key()'s signature and no work: what a call into a shared library costs. */
int bench_empty(const void *ptr, int rail, struct rdm_key *key);

#endif
