/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever way memory is registered, also one that came with a later libibverbs: as long as
 * it is, a freed block keeps its pages, and when it has ended, the pages are given back.
 */
#include "start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "verbs_of_tomorrow.h"

/* No thread keeps such a block. */
#define SIZE ((size_t)40 * T_MIB)

static struct t_mr *by_reg_mr(void *addr, size_t length)
{
	return ibv_reg_mr(NULL, addr, length, 0);
}

static struct t_mr *by_iova2(void *addr, size_t length)
{
	return ibv_reg_mr_iova2(NULL, addr, length, 4096, 0);
}

static struct t_mr *by_ex(void *addr, size_t length)
{
	return ibv_reg_mr_ex(NULL,
			     &(struct t_mr_init_attr){ .length = length, .addr = addr, .mask = 2 });
}

/* As ibv_reg_buf_mr() calls it: the driver knows the memory. */
static struct t_mr *by_buffer(void *addr, size_t length)
{
	return ibv_reg_mr_ex(
		NULL, &(struct t_mr_init_attr){ .length = length, .addr = addr, .mask = 2 | 32 });
}

static struct t_mr *by_devx(void *addr, size_t length)
{
	return mlx5dv_devx_umem_reg(NULL, addr, length, 0);
}

/* First something else, then this. */
static struct t_mr *again(struct t_mr *mr, void *addr, size_t length)
{
	T_CHECK(mr && !ibv_rereg_mr(mr, 1, NULL, addr, length, 0));
	return mr;
}

static struct t_mr *by_rereg(void *addr, size_t length)
{
	return again(by_reg_mr(addr, length / 2), addr, length);
}

static struct t_mr *by_rereg_unseen(void *addr, size_t length)
{
	return again(t_reg_tomorrow(addr, length / 2), addr, length);
}

static const struct way {
	const char *name;
	struct t_mr *(*reg)(void *addr, size_t length);
	int (*dereg)(struct t_mr *mr);
} ways[] = {
	{ "ibv_reg_mr", by_reg_mr, ibv_dereg_mr },
	{ "ibv_reg_mr_iova2", by_iova2, ibv_dereg_mr },
	{ "ibv_reg_mr_ex", by_ex, ibv_dereg_mr },
	{ "ibv_reg_mr_ex of a buffer", by_buffer, ibv_dereg_mr },
	{ "mlx5dv_devx_umem_reg", by_devx, mlx5dv_devx_umem_dereg },
	{ "ibv_rereg_mr", by_rereg, ibv_dereg_mr },
	{ "ibv_rereg_mr of an unknown region", by_rereg_unseen, ibv_dereg_mr },
	{ "an unknown function", t_reg_tomorrow, ibv_dereg_mr },
};

/* A block that may be none any more. */
static size_t pages_there(uintptr_t addr)
{
	size_t page = t_page(), pages = 0;

	for (size_t i = 0; i < SIZE; i += page) {
		unsigned char there = 0;

		if (mincore((void *)(addr + i), page, &there))
			T_CHECK(errno == ENOMEM);
		pages += there & 1U;
	}
	return pages;
}

static char *make(void)
{
	char *block = malloc(SIZE);

	T_CHECK(block);
	memset(block, 1, SIZE);
	return block;
}

static void is_let_go(const struct way *way)
{
	char *block = make();
	uintptr_t addr = (uintptr_t)block;
	struct t_mr *mr = way->reg(block, SIZE);

	T_CHECKF(mr && !way->dereg(mr), "%s", way->name);
	free(block);
	T_CHECKF(pages_there(addr) < 16, "%s: %zu pages are never given back", way->name,
		 pages_there(addr));
}

static void stays(const struct way *way)
{
	char *block = make();
	uintptr_t addr = (uintptr_t)block;
	struct t_mr *mr = way->reg(block, SIZE);

	T_CHECKF(mr, "%s", way->name);
	free(block);
	T_CHECKF(pages_there(addr) == SIZE / t_page(), "%s: %zu pages are left", way->name,
		 pages_there(addr));
	T_CHECK(!way->dereg(mr));
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, NULL);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		is_let_go(&ways[i]);
		stays(&ways[i]);
	}
	return T_PASS;
}
