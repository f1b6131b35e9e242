/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CLOCK_H
#define RDM_CLOCK_H

/* A clock for what need not be exact: some nanoseconds to read, some milliseconds wrong. */

#include <stdint.h>
#include <time.h>

/* Milliseconds since some time; it wraps around after 49 days. */
static inline uint32_t rdm_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)now.tv_sec * 1000 + (uint32_t)(now.tv_nsec / 1000000);
}

#endif
