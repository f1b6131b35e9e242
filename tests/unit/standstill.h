/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TESTS_STANDSTILL_H
#define RDM_TESTS_STANDSTILL_H

/*
 * For a test that is linked with --wrap=clock_gettime: the library's coarse clock stands still,
 * but for what the test says. One file of a test includes it.
 */

#include <time.h>

static struct timespec now = { .tv_sec = 1000 };
int __real_clock_gettime(clockid_t id, struct timespec *time);
int __wrap_clock_gettime(clockid_t id, struct timespec *time);
int __wrap_clock_gettime(clockid_t id, struct timespec *time)
{
	if (id != CLOCK_MONOTONIC_COARSE)
		return __real_clock_gettime(id, time);
	*time = now;
	return 0;
}

static inline void pass_ms(unsigned ms)
{
	now.tv_sec += ms / 1000;
	now.tv_nsec += (long)(ms % 1000) * 1000000;
	now.tv_sec += now.tv_nsec / 1000000000;
	now.tv_nsec %= 1000000000;
}

#endif
