/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_VERBS_OF_TOMORROW_H
#define TEST_VERBS_OF_TOMORROW_H

/* What of a libibverbs a test needs; see the source. */

#include <stddef.h>
#include <stdint.h>

struct t_mr {
	void *context, *pd, *addr;
	size_t length;
	uint32_t handle, lkey, rkey;
};

struct t_mr_init_attr {
	size_t length;
	int access;
	uint64_t mask, iova;
	void *addr;
	int fd;
	uint64_t fd_offset;
	void *more[2];
};

int ibv_dontfork_range(void *base, size_t size);
int ibv_dofork_range(void *base, size_t size);
struct t_mr *ibv_reg_mr(void *pd, void *addr, size_t length, int access);
struct t_mr *ibv_reg_mr_iova2(void *pd, void *addr, size_t length, uint64_t iova, unsigned access);
struct t_mr *ibv_reg_mr_ex(void *pd, struct t_mr_init_attr *attr);
int ibv_rereg_mr(struct t_mr *mr, int flags, void *pd, void *addr, size_t length, int access);
int ibv_dereg_mr(struct t_mr *mr);
struct t_mr *mlx5dv_devx_umem_reg(void *context, void *addr, size_t size, uint32_t access);
int mlx5dv_devx_umem_dereg(struct t_mr *umem);

/* A way to register that has no name yet. */
struct t_mr *t_reg_tomorrow(void *addr, size_t length);

#endif
