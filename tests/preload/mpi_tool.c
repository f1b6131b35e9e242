/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A tool as there are many for MPI: it has functions of MPI's names, counts, and calls those that
 * begin with P. And a program's plugin, which calls MPI.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int PMPI_Alloc_mem(intptr_t size, void *info, void *baseptr);
int MPI_Alloc_mem(intptr_t size, void *info, void *baseptr);
int MPI_Free_mem(void *base);
int MPI_Win_allocate(intptr_t size, int unit, void *info, void *comm, void *baseptr, void *win);
void mpi_alloc_mem_(const intptr_t *size, const int *info, void *baseptr, int *error);
void mpi_win_allocate_shared_cptr__(const intptr_t *size, const int *unit, const int *info,
				    const int *comm, void *baseptr, int *win, int *error);
const char *go(void);

static intptr_t bytes_seen;

int MPI_Alloc_mem(intptr_t size, void *info, void *baseptr)
{
	bytes_seen += size;
	return PMPI_Alloc_mem(size, info, baseptr);
}

/* The sizes of the pool's blocks are multiples of 64, those of the C library's are none. */
static const char *is_served(const char *name, void *block, int error)
{
	static char why[200];
	size_t size = block ? malloc_usable_size(block) : 0;

	MPI_Free_mem(block);
	if (!error && block && size % 64 == 0)
		return NULL;
	snprintf(why, sizeof(why), "%s: error %d, block %p of %zu bytes", name, error, block, size);
	return why;
}

static const char *by_c(void)
{
	void *block = NULL;
	int error = MPI_Alloc_mem(100, NULL, &block), win = 0;
	const char *why = is_served("MPI_Alloc_mem", block, error);

	if (why)
		return why;
	if (bytes_seen != 100)
		return "the tool did not see the call";
	error = MPI_Win_allocate(1000, 7, NULL, NULL, &block, &win);
	why = is_served("MPI_Win_allocate", block, error);
	return why || win == 7 ? why : "an argument was lost";
}

static const char *by_fortran(void)
{
	const intptr_t size = 300;
	const int unit = 8, none = 0;
	void *block = NULL;
	int error = -1, win = 0;
	const char *why;

	mpi_alloc_mem_(&size, &none, &block, &error);
	why = is_served("mpi_alloc_mem_", block, error);
	if (why)
		return why;
	error = -1;
	mpi_win_allocate_shared_cptr__(&size, &unit, &none, &none, &block, &win, &error);
	why = is_served("mpi_win_allocate_shared_cptr__", block, error);
	return why || win == 8 ? why : "the seventh argument was lost";
}

/* NULL, or what is wrong. */
const char *go(void)
{
	const char *why = by_c();
	void *block, *small;

	if (!why)
		why = by_fortran();
	if (why)
		return why;
	if (MPI_Alloc_mem(0, NULL, &block) || MPI_Free_mem(block))
		return "MPI_Alloc_mem of no bytes fails";
	small = malloc(100);
	why = malloc_usable_size(small) % 64 ? NULL :
					       "small blocks of the program's are served, too";
	free(small);
	return why;
}
