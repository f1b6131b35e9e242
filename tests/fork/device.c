/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * While a child lives, frees and dies, the parent's device (io_uring fixed
 * buffers, a page reference held by a pipe) and the parent's CPU see the same
 * bytes, in both directions. One program for each backing.
 */
#include "backing.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { BLOCKS = 8 };
static const size_t block_size = 96 * 1024;

struct device {
	struct io_uring ring;
	int file;
};

static void device_move(struct device *device, unsigned char *block, size_t len, bool to_file)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&device->ring);
	struct io_uring_cqe *cqe;
	struct rdm_key key;

	T_CHECK(!rdm_key(block, 0, &key));
	if (to_file)
		io_uring_prep_write_fixed(sqe, device->file, block, (unsigned)len, 0,
					  (int)key.lkey);
	else
		io_uring_prep_read_fixed(sqe, device->file, block, (unsigned)len, 0, (int)key.lkey);
	T_CHECK(io_uring_submit_and_wait(&device->ring, 1) == 1);
	T_CHECK(!io_uring_wait_cqe(&device->ring, &cqe));
	T_CHECKF(cqe->res == (int)len, "fixed %s: %d", to_file ? "write" : "read", cqe->res);
	io_uring_cqe_seen(&device->ring, cqe);
}

static void coherent(struct device *device, unsigned char *block, uint64_t id)
{
	static unsigned char seen[96 * 1024];

	t_pattern_fill(block, block_size, id);
	device_move(device, block, block_size, true);
	T_CHECK(pread(device->file, seen, block_size, 0) == (ssize_t)block_size);
	T_CHECKF(t_pattern_check(seen, block_size, id) == block_size,
		 "the device did not read what the CPU wrote");
	t_pattern_fill(seen, block_size, ~id);
	T_CHECK(pwrite(device->file, seen, block_size, 0) == (ssize_t)block_size);
	device_move(device, block, block_size, false);
	T_CHECKF(t_pattern_check(block, block_size, ~id) == block_size,
		 "the CPU did not read what the device wrote");
}

struct actors {
	unsigned char *block[BLOCKS];
	struct t_event written, child_done;
};

static int child(struct actors *actors)
{
	for (unsigned i = 0; i < BLOCKS / 2; i++)
		rdm_free(actors->block[i]);
	t_event_set(&actors->child_done);
	t_event_wait(&actors->written);
	for (unsigned i = BLOCKS / 2; i < BLOCKS; i++)
		rdm_free(actors->block[i]);
	return T_PASS;
}

static void one_fork(struct device *device, struct actors *actors, uint64_t id)
{
	unsigned char seen[64];
	struct t_pin pin[BLOCKS];
	int status;
	pid_t pid;

	for (unsigned i = 0; i < BLOCKS; i++)
		t_pin_take(&pin[i], actors->block[i] + block_size - sizeof(seen), sizeof(seen));
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid)
		_exit(child(actors));
	for (unsigned i = 0; i < BLOCKS; i++)
		coherent(device, actors->block[i], id + i);
	t_event_wait(&actors->child_done);
	for (unsigned i = 0; i < BLOCKS; i++)
		coherent(device, actors->block[i], id + 2 * i);
	t_event_set(&actors->written);
	T_CHECK(waitpid(pid, &status, 0) == pid && !status);
	for (unsigned i = 0; i < BLOCKS; i++) {
		coherent(device, actors->block[i], id + 3 * i);
		t_pin_read(&pin[i], seen);
		T_CHECKF(!memcmp(seen, actors->block[i] + block_size - sizeof(seen), sizeof(seen)),
			 "who held the page does not see what the CPU sees");
	}
}

static void play(unsigned backing, unsigned policy)
{
	struct device device;
	struct actors actors;
	rdm_pool *pool = t_pool("device", backing, policy, T_SLAB, 0);
	int ret = io_uring_queue_init(8, &device.ring, 0);

	if (ret)
		t_skip("io_uring_queue_init: %s", strerror(-ret));
	if (rdm_pool_add_uring(pool, &device.ring, 0))
		t_skip("rdm_pool_add_uring: %s", strerror(errno));
	device.file = memfd_create("device", MFD_CLOEXEC);
	T_CHECK(device.file >= 0);
	t_event_init(&actors.written);
	t_event_init(&actors.child_done);
	for (unsigned i = 0; i < BLOCKS; i++)
		actors.block[i] = t_malloc(pool, block_size);
	for (unsigned i = 0; i < 10; i++)
		one_fork(&device, &actors, 100 * i);
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(actors.block[i]);
	T_CHECK(!rdm_pool_destroy(pool));
	io_uring_queue_exit(&device.ring);
	close(device.file);
	t_event_destroy(&actors.written);
	t_event_destroy(&actors.child_done);
	t_say("%s, policy %u: coherent", t_backing_name(), policy);
}

int main(void)
{
	return t_each_policy(play);
}
