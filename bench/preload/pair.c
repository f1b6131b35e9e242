/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: pair SIZE PAIRS [BATCH]: malloc and free as often, BATCH blocks at a time, each
 * touched at its start. Prints nanoseconds a pair.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH_MAX = 1024 };

static void *blocks[BATCH_MAX];

static void play(size_t size, long pairs, long batch)
{
	for (long i = 0; i < pairs; i += batch) {
		for (long j = 0; j < batch; j++) {
			blocks[j] = malloc(size);
			*(volatile char *)blocks[j] = 1;
		}
		for (long j = 0; j < batch; j++)
			free(blocks[j]);
	}
}

int main(int argc, char **argv)
{
	size_t size = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	long pairs = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
	long batch = argc > 3 ? strtol(argv[3], NULL, 10) : 1;
	struct timespec start, end;

	if (!size || pairs <= 0 || batch <= 0 || batch > BATCH_MAX) {
		fputs("usage: pair SIZE PAIRS [BATCH]\n", stderr);
		return 2;
	}
	play(size, 1000, batch);
	clock_gettime(CLOCK_MONOTONIC, &start);
	play(size, pairs, batch);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.2f\n",
	       ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
		       (double)pairs);
	return 0;
}
