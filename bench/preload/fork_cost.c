/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: fork_cost LIVE REGISTERED FREED [fill]: MiB of blocks of 1 MiB that are written, that
 * are registered of these, and that are registered and freed. Prints microseconds: the median
 * time of fork() in the parent, and of fork, _exit and waitpid. fill: the time to populate
 * and fill as much fresh memory as is registered.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, ROUNDS = 31, BLOCKS = 16384 };

static char *live[BLOCKS], *freed[BLOCKS];
static double times[2][ROUNDS];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

static void make(char **blocks, long count, long registered)
{
	int (*dontfork)(void *, size_t);
	void *symbol = dlsym(RTLD_DEFAULT, "ibv_dontfork_range");

	memcpy(&dontfork, &symbol, sizeof(symbol));
	for (long i = 0; i < count; i++) {
		blocks[i] = malloc(MIB);
		memset(blocks[i], 1, MIB);
		if (i < registered && dontfork)
			dontfork(blocks[i], MIB);
	}
}

static double fill(long mib)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t length = (size_t)mib * MIB;
		double start = now();
		char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (memory == MAP_FAILED)
			exit(1);
		for (long j = 0; j < mib; j++)
			memcpy(memory + j * MIB, live[j], MIB);
		times[0][i] = now() - start;
		munmap(memory, length);
	}
	return median(times[0]);
}

int main(int argc, char **argv)
{
	long counts[3];

	for (int i = 0; i < 3; i++) {
		counts[i] = i + 1 < argc ? strtol(argv[i + 1], NULL, 10) : -1;
		if (counts[i] < 0 || counts[i] > BLOCKS) {
			fputs("usage: fork LIVE REGISTERED FREED [fill]\n", stderr);
			return 2;
		}
	}
	make(live, counts[0], counts[1]);
	make(freed, counts[2], counts[2]);
	for (long i = 0; i < counts[2]; i++)
		free(freed[i]);
	if (argc > 4) {
		printf("%.0f\n", fill(counts[1]));
		return 0;
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		double start = now();
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		times[0][i] = now() - start;
		waitpid(pid, NULL, 0);
		times[1][i] = now() - start;
	}
	printf("%.0f %.0f\n", median(times[0]), median(times[1]));
	return 0;
}
