/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stands in for a libibverbs of some other version and its drivers, without a device: the same calls
 * in the same order as rdma-core's verbs.c and mlx5's verbs.c have.
 */
#include "verbs_of_tomorrow.h"

#include <stdlib.h>

/* Weak: a call to one of these goes to whoever's is first, and clang may not put this one in its place. */
#pragma weak ibv_dontfork_range
#pragma weak ibv_dofork_range
#pragma weak ibv_reg_mr_iova2
#pragma weak ibv_dereg_mr

int ibv_dontfork_range(void *base, size_t size)
{
	(void)base;
	(void)size;
	return 0;
}

int ibv_dofork_range(void *base, size_t size)
{
	(void)base;
	(void)size;
	return 0;
}

static struct t_mr *reg(void *addr, size_t length)
{
	struct t_mr *mr;

	if (ibv_dontfork_range(addr, length))
		return NULL;
	mr = calloc(1, sizeof(*mr));
	if (!mr)
		return NULL;
	mr->addr = addr;
	mr->length = length;
	return mr;
}

struct t_mr *ibv_reg_mr_iova2(void *pd, void *addr, size_t length, uint64_t iova, unsigned access)
{
	(void)pd;
	(void)iova;
	(void)access;
	return reg(addr, length);
}

struct t_mr *ibv_reg_mr(void *pd, void *addr, size_t length, int access)
{
	return ibv_reg_mr_iova2(pd, addr, length, (uintptr_t)addr, (unsigned)access);
}

struct t_mr *ibv_reg_mr_ex(void *pd, struct t_mr_init_attr *attr)
{
	(void)pd;
	return reg(attr->addr, attr->length);
}

struct t_mr *t_reg_tomorrow(void *addr, size_t length)
{
	return reg(addr, length);
}

int ibv_dereg_mr(struct t_mr *mr)
{
	int error = ibv_dofork_range(mr->addr, mr->length);

	free(mr);
	return error;
}

int ibv_rereg_mr(struct t_mr *mr, int flags, void *pd, void *addr, size_t length, int access)
{
	(void)pd;
	(void)access;
	if (!(flags & 1))
		return 0;
	if (ibv_dontfork_range(addr, length))
		return -1;
	ibv_dofork_range(mr->addr, mr->length);
	mr->addr = addr;
	mr->length = length;
	return 0;
}

struct t_mr *mlx5dv_devx_umem_reg(void *context, void *addr, size_t size, uint32_t access)
{
	(void)context;
	(void)access;
	return reg(addr, size);
}

int mlx5dv_devx_umem_dereg(struct t_mr *umem)
{
	return ibv_dereg_mr(umem);
}
