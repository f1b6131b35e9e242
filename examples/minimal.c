/* SPDX-License-Identifier: BSD-2-Clause */
#include <err.h>
#include <liburing.h>
#include <rdmalloc.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	struct io_uring ring; /* stands in for an RDMA device */
	if (io_uring_queue_init(4, &ring, 0) < 0)
		errx(1, "no io_uring here");
	rdm_pool *pool = rdm_pool_create(NULL);
	int rail = rdm_pool_add_uring(pool, &ring, 0);
	char *buffer = rdm_malloc(pool, 64); /* registered already */
	struct rdm_key key;
	if (!buffer || rdm_key(buffer, rail, &key))
		err(1, "rdmalloc");
	if (fork() == 0)
		_exit(0);
	int length = snprintf(buffer, 64, "written after fork()\n"); /* and the device sees it: */
	io_uring_prep_write_fixed(io_uring_get_sqe(&ring), STDOUT_FILENO, buffer, (unsigned)length,
				  -1, (int)key.lkey);
	io_uring_submit_and_wait(&ring, 1);
	rdm_free(buffer);
	return rdm_pool_destroy(pool);
}
