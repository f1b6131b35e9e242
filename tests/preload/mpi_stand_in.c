/* SPDX-License-Identifier: BSD-2-Clause */
/* Stands in for an MPI: what it allocates it has from malloc, as MPIs do. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int PMPI_Alloc_mem(intptr_t size, void *info, void *baseptr);
int MPI_Alloc_mem(intptr_t size, void *info, void *baseptr);
int MPI_Free_mem(void *base);
int PMPI_Win_allocate(intptr_t size, int unit, void *info, void *comm, void *baseptr, void *win);
int MPI_Win_allocate(intptr_t size, int unit, void *info, void *comm, void *baseptr, void *win);
void mpi_alloc_mem_(const intptr_t *size, const int *info, void *baseptr, int *error);
void mpi_win_allocate_shared_cptr__(const intptr_t *size, const int *unit, const int *info,
				    const int *comm, void *baseptr, int *win, int *error);

static int allocate(intptr_t size, void *baseptr)
{
	void *block = malloc((size_t)size);

	if (!block)
		return 34;
	memcpy(baseptr, &block, sizeof(block));
	return 0;
}

int PMPI_Alloc_mem(intptr_t size, void *info, void *baseptr)
{
	(void)info;
	return allocate(size, baseptr);
}

int MPI_Alloc_mem(intptr_t size, void *info, void *baseptr)
{
	return PMPI_Alloc_mem(size, info, baseptr);
}

int MPI_Free_mem(void *base)
{
	free(base);
	return 0;
}

int PMPI_Win_allocate(intptr_t size, int unit, void *info, void *comm, void *baseptr, void *win)
{
	(void)info;
	(void)comm;
	memcpy(win, &unit, sizeof(unit));
	return allocate(size, baseptr);
}

int MPI_Win_allocate(intptr_t size, int unit, void *info, void *comm, void *baseptr, void *win)
{
	return PMPI_Win_allocate(size, unit, info, comm, baseptr, win);
}

void mpi_alloc_mem_(const intptr_t *size, const int *info, void *baseptr, int *error)
{
	(void)info;
	*error = allocate(*size, baseptr);
}

void mpi_win_allocate_shared_cptr__(const intptr_t *size, const int *unit, const int *info,
				    const int *comm, void *baseptr, int *win, int *error)
{
	(void)info;
	(void)comm;
	*win = *unit;
	*error = allocate(*size, baseptr);
}
