/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C++'s operators new and delete, by their names in the Itanium ABI and in tcmalloc. Most
 * libraries' call malloc anyway, but a malloc that is preloaded, too, may have operators of its
 * own, which would not come here. What new does when there is no memory (a handler, an exception)
 * is left to the C++ library that the caller has, which may be in a plugin's scope only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "preload/lookup.h"
#include "preload/preload.h"

/* What this thread has called last. It may jump to another operator, which is then called from here. */
static __thread const void *called;

static void *find(const char *name, const void *caller)
{
	void *symbol = rdm_lookup_next(name);

	if (!symbol)
		symbol = rdm_lookup_for(name, rdm_lookup_is_ours(caller) ? called : caller);
	if (!symbol)
		rdm_die("there is no memory, and no C++ library with a next %s to say so", name);
	called = symbol;
	return symbol;
}

/* An operator, the one that it is in C++, its further parameters, and its arguments. */
#define NEW(name, standard, allocate, parameters, ...)                \
	void *name parameters;                                        \
	RDM_EXPORT void *name parameters                              \
	{                                                             \
		int saved = errno;                                    \
		void *block = allocate, *symbol;                      \
		void *(*next)parameters;                              \
                                                                      \
		if (block)                                            \
			return block;                                 \
		errno = saved;                                        \
		symbol = find(standard, __builtin_return_address(0)); \
		memcpy(&next, &symbol, sizeof(next));                 \
		return next(__VA_ARGS__);                             \
	}

/* Size, alignment and nothrow come in registers that nobody looks at. */
#define DELETE(name)                      \
	void name(void *block);           \
	RDM_EXPORT void name(void *block) \
	{                                 \
		free(block);              \
	}

static void *aligned(size_t align, size_t size)
{
	void *block;

	return posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, size) ?
		       NULL :
		       block;
}

#define PLAIN(name, standard) NEW(name, standard, malloc(size), (size_t size), size)
#define NOTHROW(name, standard) \
	NEW(name, standard, malloc(size), (size_t size, const void *nothrow), size, nothrow)
#define ALIGNED(name, standard) \
	NEW(name, standard, aligned(align, size), (size_t size, size_t align), size, align)
#define ALIGNED_NOTHROW(name, standard)           \
	NEW(name, standard, aligned(align, size), \
	    (size_t size, size_t align, const void *nothrow), size, align, nothrow)

PLAIN(_Znwm, "_Znwm")
PLAIN(_Znam, "_Znam")
NOTHROW(_ZnwmRKSt9nothrow_t, "_ZnwmRKSt9nothrow_t")
NOTHROW(_ZnamRKSt9nothrow_t, "_ZnamRKSt9nothrow_t")
ALIGNED(_ZnwmSt11align_val_t, "_ZnwmSt11align_val_t")
ALIGNED(_ZnamSt11align_val_t, "_ZnamSt11align_val_t")
ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t, "_ZnwmSt11align_val_tRKSt9nothrow_t")
ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t, "_ZnamSt11align_val_tRKSt9nothrow_t")

DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t)
DELETE(_ZdaPvRKSt9nothrow_t)
DELETE(_ZdlPvSt11align_val_t)
DELETE(_ZdaPvSt11align_val_t)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)

PLAIN(tc_new, "_Znwm")
PLAIN(tc_newarray, "_Znam")
NOTHROW(tc_new_nothrow, "_ZnwmRKSt9nothrow_t")
NOTHROW(tc_newarray_nothrow, "_ZnamRKSt9nothrow_t")
ALIGNED(tc_new_aligned, "_ZnwmSt11align_val_t")
ALIGNED(tc_newarray_aligned, "_ZnamSt11align_val_t")
ALIGNED_NOTHROW(tc_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t")
ALIGNED_NOTHROW(tc_newarray_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t")

DELETE(tc_delete)
DELETE(tc_deletearray)
DELETE(tc_delete_sized)
DELETE(tc_deletearray_sized)
DELETE(tc_delete_nothrow)
DELETE(tc_deletearray_nothrow)
DELETE(tc_delete_aligned)
DELETE(tc_deletearray_aligned)
DELETE(tc_delete_sized_aligned)
DELETE(tc_deletearray_sized_aligned)
DELETE(tc_delete_aligned_nothrow)
DELETE(tc_deletearray_aligned_nothrow)
