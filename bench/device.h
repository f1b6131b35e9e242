/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_DEVICE_H
#define BENCH_DEVICE_H

/*
 * What stands in for an RDMA device: fixed buffers of io_uring. The kernel pins
 * their pages for long, as it does for a memory region, and any machine has it.
 */

#include <stdint.h>
#include <stddef.h>

/* Of one fixed buffer: longer memory takes more of them. */
#define BENCH_PIN_MAX ((size_t)1 << 30)

struct io_uring;

/* A ring without buffers. NULL, or why there is none. */
const char *bench_device_open(void);
void bench_device_close(void);
struct io_uring *bench_device_ring(void);

/* A table of so many empty slots; not for a ring that a pool has. */
const char *bench_device_table(unsigned slots);
/* Pins memory into a slot, or empties it (addr NULL). 0 or a positive errno value. */
int bench_pin(unsigned slot, void *addr, size_t length);
/* Pins any length from slot 0 on. */
int bench_pin_all(char *addr, size_t length);

#endif
