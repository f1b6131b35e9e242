/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CLOCK_H
#define RDM_CLOCK_H

/* Clocks. */

#include <stdint.h>
#include <time.h>

/*
 * For what need not be exact: milliseconds since some time, some of them wrong, and some
 * nanoseconds to read. It wraps around after 49 days.
 */
static inline uint32_t rdm_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec * 1000 + (uint32_t)(now.tv_nsec / 1000000);
}

/* The time of day, as other processes have it. */
static inline uint64_t rdm_clock_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif
