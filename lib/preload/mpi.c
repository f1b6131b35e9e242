/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MPI's allocations: their blocks are going to be registered, so they come from the pool at
 * any size. MPI has them from malloc, which serves all sizes from the pool meanwhile; so a tool that
 * stands behind us sees each call as it was, and MPI frees its own blocks. Each name goes on to the
 * next one of that name, be it a tool's (MPI_) or MPI's (PMPI_), C's or Fortran's, by whatever rule
 * a Fortran compiler makes names.
 *
 * Declared so that every MPI's ABI fits: an MPI_Info is an int in one and a pointer in the
 * other, and goes on as it came. No function has more than eight arguments, none is a
 * floating-point number, and a Fortran subroutine returns what nobody looks at.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "base/conf.h"
#include "base/log.h"
#include "preload/preload.h"

#define EIGHT                                                                               \
	intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f, intptr_t g, \
		intptr_t h

typedef intptr_t call(EIGHT);

/* Of every MPI; only programs that have none could ask. */
#define MPI_ERR_UNKNOWN 13

static const void *object_of(const void *addr)
{
	Dl_info info;

	return dladdr(addr, &info) ? info.dli_fbase : NULL;
}

struct search {
	const char *name;
	void *found;
};

/* In a library and those that it needs, but not here. */
static void look_in(struct search *search, const char *library)
{
	void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD), *symbol;

	if (!handle)
		return;
	symbol = dlsym(handle, search->name);
	if (symbol && object_of(symbol) != object_of((const void *)&look_in))
		search->found = symbol;
	dlclose(handle);
}

static int look_in_next(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *search = arg;

	(void)size;
	if (*info->dlpi_name)
		look_in(search, info->dlpi_name);
	return search->found != NULL;
}

/* Bindings of other languages load MPI into a scope of its own, where RTLD_NEXT does not look. */
static void *find(const char *name, const void *caller)
{
	struct search search = { .name = name, .found = dlsym(RTLD_NEXT, name) };
	Dl_info info;

	if (!search.found && dladdr(caller, &info) && info.dli_fname)
		look_in(&search, info.dli_fname);
	if (!search.found)
		dl_iterate_phdr(look_in_next, &search);
	if (!search.found)
		rdm_log(RDM_LOG_ERROR, "%s: no MPI is loaded that has it", name);
	return search.found;
}

static intptr_t pass_on(const char *name, _Atomic(void *) *found, const void *caller,
			const intptr_t arg[8])
{
	bool served = rdm_conf()->mpi_alloc && rdm_preload_open();
	void *symbol = atomic_load(found);
	intptr_t result;
	call *next;

	if (!symbol) {
		symbol = find(name, caller);
		atomic_store(found, symbol);
	}
	if (!symbol)
		return MPI_ERR_UNKNOWN;
	memcpy(&next, &symbol, sizeof(next));
	if (served)
		rdm_preload_serve_all(true);
	result = next(arg[0], arg[1], arg[2], arg[3], arg[4], arg[5], arg[6], arg[7]);
	if (served)
		rdm_preload_serve_all(false);
	return result;
}

#define PASS_ON(name)                                                         \
	RDM_EXPORT intptr_t name(EIGHT);                                      \
	RDM_EXPORT intptr_t name(EIGHT)                                       \
	{                                                                     \
		static _Atomic(void *) found;                                 \
                                                                              \
		return pass_on(#name, &found, __builtin_return_address(0),    \
			       (const intptr_t[]){ a, b, c, d, e, f, g, h }); \
	}

#define PASS_ON_C(name)     \
	PASS_ON(MPI_##name) \
	PASS_ON(PMPI_##name)

#define PASS_ON_LOWER(name)     \
	PASS_ON(mpi_##name)     \
	PASS_ON(mpi_##name##_)  \
	PASS_ON(mpi_##name##__) \
	PASS_ON(pmpi_##name)    \
	PASS_ON(pmpi_##name##_) \
	PASS_ON(pmpi_##name##__)

PASS_ON_C(Alloc_mem)
PASS_ON_C(Win_allocate)
PASS_ON_C(Win_allocate_c)
PASS_ON_C(Win_allocate_shared)
PASS_ON_C(Win_allocate_shared_c)

/* Fortran's. In capitals they are made as C's are. */
PASS_ON_C(ALLOC_MEM)
PASS_ON_C(ALLOC_MEM_CPTR)
PASS_ON_C(WIN_ALLOCATE)
PASS_ON_C(WIN_ALLOCATE_CPTR)
PASS_ON_C(WIN_ALLOCATE_SHARED)
PASS_ON_C(WIN_ALLOCATE_SHARED_CPTR)
PASS_ON_LOWER(alloc_mem)
PASS_ON_LOWER(alloc_mem_cptr)
PASS_ON_LOWER(alloc_mem_f08)
PASS_ON_LOWER(win_allocate)
PASS_ON_LOWER(win_allocate_cptr)
PASS_ON_LOWER(win_allocate_f08)
PASS_ON_LOWER(win_allocate_shared)
PASS_ON_LOWER(win_allocate_shared_cptr)
PASS_ON_LOWER(win_allocate_shared_f08)
