/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_SPARSE_H
#define TEST_SPARSE_H

/* What an io_uring rail needs of the kernel. */

#include "support.h"

#include <liburing.h>
#include <string.h>

/* The kernel has io_uring with sparse tables of buffers, or the test is skipped. */
static inline void t_need_sparse_tables(void)
{
	struct io_uring ring;
	int ret = io_uring_queue_init(4, &ring, 0);

	if (ret)
		t_skip("io_uring_queue_init: %s", strerror(-ret));
	ret = io_uring_register_buffers_sparse(&ring, 4);
	if (ret)
		t_skip("io_uring has no sparse buffer tables: %s", strerror(-ret));
	io_uring_queue_exit(&ring);
}

#endif
