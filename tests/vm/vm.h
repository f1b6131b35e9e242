/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_VM_H
#define TEST_VM_H

/* What the VM tests share. They are root on a machine of their own. */

#include <stdbool.h>
#include <stddef.h>

#include "probe.h"
#include "rc.h"

/*
 * Memory for probes: a pool for each buffer, with the device as its rail. For
 * the backing hugetlb there are pages, or the test is skipped.
 */
struct probe_memory t_pool_memory(const char *backing);

/* A device, and a connection on it from this process to itself. */
struct t_wire {
	struct rc_device device;
	struct rc_end end[2];
};
/* name NULL: any device; the test fails where there is none */
void t_wire_open(struct t_wire *wire, const char *name);
/* The pool blocks' rail is the device: a pattern goes over the wire. False: it did not. */
bool t_wire_write(const struct t_wire *wire, int rail, void *from, void *to, size_t length,
		  uint64_t id);
void t_wire_close(struct t_wire *wire);

/* Memory regions on a device, of this process and any other, as the kernel counts them. */
size_t t_kernel_mrs(const char *device);

/* Whether children do not inherit the mapping at this address. */
bool t_is_out(const void *addr);

#endif
