/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MPI_Alloc_mem and MPI_Free_mem: their blocks are going to be registered, so they come
 * from the pool at any size. Declared so that every MPI's ABI fits: an MPI_Info is an int in
 * one and a pointer in the other, and goes to the real function as it came.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/log.h"
#include "memory/reserve.h"
#include "preload/preload.h"
#include "rdmalloc.h"

int MPI_Alloc_mem(intptr_t size, void *info, void *baseptr);
int MPI_Free_mem(void *base);

static void *find(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol)
		rdm_die("%s: no MPI is loaded that has it", name);
	return symbol;
}

RDM_EXPORT int MPI_Alloc_mem(intptr_t size, void *info, void *baseptr)
{
	int (*next)(intptr_t, void *, void *);
	void *symbol, *block = NULL;

	if (size > 0 && rdm_preload_open() && rdm_conf()->mpi_alloc)
		block = rdm_preload_alloc(4096, (size_t)size);
	if (block) {
		memcpy(baseptr, &block, sizeof(block));
		return 0;
	}
	symbol = find("MPI_Alloc_mem");
	memcpy(&next, &symbol, sizeof(next));
	return next(size, info, baseptr);
}

RDM_EXPORT int MPI_Free_mem(void *base)
{
	int (*next)(void *);
	void *symbol;

	/* What MPI allocates itself comes from malloc, and may be larger than what the program sees. */
	if (rdm_reserve_has(base) && rdm_usable_size(base)) {
		free(base);
		return 0;
	}
	symbol = find("MPI_Free_mem");
	memcpy(&next, &symbol, sizeof(next));
	return next(base);
}
