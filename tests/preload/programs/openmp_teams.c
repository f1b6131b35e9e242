/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Teams of threads, and forks: between parallel regions, with the team asleep, and by all
 * threads of a team at once. Children look at what the team has allocated and written,
 * write to it, allocate, and end; the parent's team goes on with its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <omp.h>

enum { THREADS = 4, BLOCKS = 64 };

static unsigned *block[BLOCKS];
static size_t length[BLOCKS];
static int failed;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned value(int i, size_t at, unsigned round)
{
	return (unsigned)i * 2654435761U + (unsigned)at * 40503U + round;
}

static void fill(int i, unsigned round)
{
	for (size_t at = 0; at < length[i]; at++)
		block[i][at] = value(i, at, round);
}

static int is_filled(int i, unsigned round)
{
	for (size_t at = 0; at < length[i]; at++)
		if (block[i][at] != value(i, at, round))
			return 0;
	return 1;
}

/* Another thread's blocks of odd numbers may be in the making. */
static int child_is_fine(int step, unsigned round)
{
	int fine = 1;

	for (int i = 0; i < BLOCKS; i += step) {
		fine &= is_filled(i, round);
		fill(i, round + 1000);
		fine &= is_filled(i, round + 1000);
		block[i] = realloc(block[i], 2 * length[i] * sizeof(**block));
		fine &= block[i] && is_filled(i, round + 1000);
		free(block[i]);
	}
#pragma omp parallel num_threads(1)
	free(malloc(1 << 20));
	return fine;
}

static int fork_is_fine(int step, unsigned round)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid)
		_exit(!child_is_fine(step, round));
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return !status;
}

/* Usage: openmp [FORKS] */
int main(int argc, char **argv)
{
	int forks = argc > 1 ? atoi(argv[1]) : 20;
	unsigned round = 0;
	double sum = 0;

	omp_set_dynamic(0);
	omp_set_num_threads(THREADS);
#pragma omp parallel for
	for (int i = 0; i < BLOCKS; i++) {
		length[i] = (size_t)1 << (4 + i % 16);
		block[i] = malloc(length[i] * sizeof(**block));
		if (!block[i])
			die("malloc");
		fill(i, 0);
	}
	for (int n = 0; n < forks; n++) {
		failed |= !fork_is_fine(1, round);
		round++;
#pragma omp parallel for schedule(dynamic)
		for (int i = 0; i < BLOCKS; i++) {
			block[i] = realloc(block[i], length[i] * sizeof(**block));
			fill(i, round);
		}
	}
	printf("between regions: %s\n", failed ? "wrong" : "right");
	for (int n = 0; n < forks; n++) {
#pragma omp parallel reduction(| : failed) reduction(+ : sum)
		{
			failed |= !fork_is_fine(2, round);
			for (int i = 1 + 2 * omp_get_thread_num(); i < BLOCKS; i += 2 * THREADS) {
				free(block[i]);
				block[i] = malloc(length[i] * sizeof(**block));
				fill(i, round);
				sum += block[i][length[i] / 2];
			}
		}
	}
	for (int i = 0; i < BLOCKS; i++)
		failed |= !is_filled(i, round);
	printf("in regions: %s, %.0f\n", failed ? "wrong" : "right", sum);
	return failed;
}
