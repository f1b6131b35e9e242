/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int measure(unsigned rounds, struct probe_cost *cost, struct probe_outcome *out)
{
	uint64_t took[PROBE_COST_ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t start = now();
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		took[i] = now() - start;
		if (pid < 0)
			return probe_refused(out, "fork", errno);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	qsort(took, rounds, sizeof(took[0]), by_size);
	*cost = (struct probe_cost){
		.median_ns = took[rounds / 2],
		.min_ns = took[0],
		.max_ns = took[rounds - 1],
	};
	return 0;
}

int probe_fork_cost(const struct probe_memory *memory, size_t length, unsigned rounds,
		    struct probe_cost *cost, struct probe_outcome *out)
{
	struct probe_buffer buffer = { .length = length };
	struct probe_device device;
	int ret;

	*out = (struct probe_outcome){ .verdict = PROBE_COHERENT };
	if (!rounds || rounds > PROBE_COST_ROUNDS_MAX)
		return probe_broken(out, "%u rounds", rounds);
	if (!memory)
		return measure(rounds, cost, out);
	ret = probe_device_open(&device, &probe_uring, out);
	if (!ret) {
		ret = probe_buffer_get(memory, &device, &buffer, out);
		if (!ret) {
			ret = probe_device_pin(&device, &buffer, out);
			if (!ret)
				ret = measure(rounds, cost, out);
			probe_device_unpin(&device);
			memory->put(memory->context, &buffer);
		}
	}
	probe_device_close(&device);
	return ret;
}
