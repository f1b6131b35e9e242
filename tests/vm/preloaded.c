/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under the preload, what a program registers with a device goes out of the fork and comes
 * back when the registration ends, as often as there are registrations of a page; children
 * have what was in it. Memory of other origin is left as it is, but written.
 */
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "preload/start.h"
#include "probe.h"
#include "rc.h"
#include "vm.h"

enum { ACCESS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE };

static const size_t size = T_MIB;

static struct ibv_mr *reg(const struct rc_device *device, void *addr, size_t length)
{
	struct ibv_mr *mr = ibv_reg_mr(device->pd, addr, length, ACCESS);

	T_CHECKF(mr, "ibv_reg_mr: %m");
	return mr;
}

static void in_and_out(const struct rc_device *device)
{
	unsigned char *block = malloc(size);
	struct ibv_mr *whole, *half, *other;

	T_CHECK(!t_is_out(block));
	whole = reg(device, block, size);
	T_CHECKF(t_is_out(block) && t_is_out(block + size - 1),
		 "a registered block is in the fork");
	T_CHECK(probe_child_view(block, size) == PROBE_VIEW_BYTES);
	half = reg(device, block, size / 2);
	T_CHECK(!ibv_dereg_mr(whole));
	T_CHECK(t_is_out(block));
	T_CHECKF(!t_is_out(block + size - 1), "what is not registered any more is out of the fork");
	T_CHECK(probe_child_view(block, size) == PROBE_VIEW_BYTES);
	other = ibv_reg_mr_iova(device->pd, block, size, 0, ACCESS);
	T_CHECK(!other || (t_is_out(block + size - 1) && !ibv_dereg_mr(other)));
	T_CHECK(!ibv_dereg_mr(half));
	T_CHECK(!t_is_out(block));
	T_CHECK(!ibv_reg_mr(device->pd, block, size, -1));
	T_CHECKF(!t_is_out(block), "a registration that failed took its block out of the fork");
	free(block);
}

/* rxe cannot move a region: then nothing must have changed. */
static void moved(const struct rc_device *device)
{
	unsigned char *from = malloc(size), *to = malloc(size);
	struct ibv_mr *mr = reg(device, from, size);
	int result = ibv_rereg_mr(mr, IBV_REREG_MR_CHANGE_TRANSLATION, NULL, to, size, 0);

	t_say("ibv_rereg_mr: %d", result);
	T_CHECK(t_is_out(result ? from : to) && !t_is_out(result ? to : from));
	T_CHECK(!ibv_dereg_mr(mr));
	T_CHECK(!t_is_out(from) && !t_is_out(to));
	free(from);
	free(to);
}

static void foreign(const struct rc_device *device)
{
	unsigned char *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *constant = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool marks = ibv_is_fork_initialized() == IBV_FORK_ENABLED || getenv("RDMAV_FORK_SAFE");
	struct ibv_mr *mr;

	T_CHECK(memory != MAP_FAILED && constant != MAP_FAILED);
	mr = reg(device, memory, size);
	T_CHECKF(t_is_out(memory) == marks, "foreign memory is %sin the fork", marks ? "" : "not ");
	T_CHECK(!ibv_dereg_mr(mr));
	T_CHECK(!t_is_out(memory));
	/* Read only: nobody may write to it, and nobody has to. */
	mr = ibv_reg_mr(device->pd, constant, size, IBV_ACCESS_REMOTE_READ);
	T_CHECK(t_is_byte(constant, size, 0));
	T_CHECK(!mr || !ibv_dereg_mr(mr));
	T_CHECK(!ibv_reg_mr(device->pd, (void *)(uintptr_t)0x1000, size, ACCESS));
	/* Nonsense must not keep anybody busy. */
	T_CHECK(!ibv_reg_mr(device->pd, memory, SIZE_MAX / 2, ACCESS));
	T_CHECK(!ibv_reg_mr(device->pd, memory, SIZE_MAX - 1, ACCESS));
	munmap(memory, size);
	munmap(constant, size);
}

/* The child's device is its own: it opens one, and has registrations like anybody. */
static int child(void *arg)
{
	unsigned char *block = arg;
	struct rc_device device;
	struct ibv_mr *mr;

	T_CHECK(t_pattern_check(block, size, 1) == size);
	T_CHECK(!t_is_out(block));
	T_CHECK(!rc_device_open(&device));
	mr = reg(&device, block, size);
	T_CHECK(t_is_out(block));
	T_CHECK(probe_child_view(block, size) == PROBE_VIEW_BYTES);
	T_CHECK(!ibv_dereg_mr(mr));
	T_CHECK(!t_is_out(block));
	T_CHECK(!rc_device_close(&device));
	return T_PASS;
}

static void inherited(const struct rc_device *device)
{
	unsigned char *block = malloc(size);
	struct ibv_mr *mr = reg(device, block, size);

	t_pattern_fill(block, size, 1);
	t_fork_passes(child, block);
	T_CHECK(t_is_out(block));
	T_CHECK(!ibv_dereg_mr(mr));
	free(block);
}

int main(int argc, char **argv)
{
	struct rc_device device;
	int error;

	(void)argc;
	t_preload(argv, false, NULL);
	error = rc_device_open(&device);
	T_CHECKF(!error, "no RDMA device: %s", strerror(error));
	in_and_out(&device);
	moved(&device);
	foreign(&device);
	inherited(&device);
	T_CHECK(!rc_device_close(&device));
	return T_PASS;
}
