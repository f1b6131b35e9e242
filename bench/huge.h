/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_HUGE_H
#define BENCH_HUGE_H

#include <stddef.h>

/* Fresh memory that asks for huge pages, as a pool's does, aligned to one. NULL: errno. */
void *bench_huge(size_t length);
/* Makes every page present, by so many threads at once. 0 or a positive errno value. */
int bench_populate(char *addr, size_t length, unsigned threads);

#endif
