/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C++'s operators new and delete, by their names in the Itanium ABI. Most libraries' call
 * malloc anyway, but a malloc that is preloaded, too, may have operators of its own, which
 * would not come here. What new does when there is no memory is left to the next one.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "preload/preload.h"

static void *find(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol)
		rdm_die("there is no C++ library with a next %s", name);
	return symbol;
}

/* An operator, its further parameters, and its arguments. */
#define NEW(name, allocate, parameters, ...)          \
	void *name parameters;                        \
	RDM_EXPORT void *name parameters              \
	{                                             \
		void *block = allocate, *symbol;      \
		void *(*next)parameters;              \
                                                      \
		if (block)                            \
			return block;                 \
		symbol = find(#name);                 \
		memcpy(&next, &symbol, sizeof(next)); \
		return next(__VA_ARGS__);             \
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

NEW(_Znwm, malloc(size), (size_t size), size)
NEW(_Znam, malloc(size), (size_t size), size)
NEW(_ZnwmRKSt9nothrow_t, malloc(size), (size_t size, const void *nothrow), size, nothrow)
NEW(_ZnamRKSt9nothrow_t, malloc(size), (size_t size, const void *nothrow), size, nothrow)
NEW(_ZnwmSt11align_val_t, aligned(align, size), (size_t size, size_t align), size, align)
NEW(_ZnamSt11align_val_t, aligned(align, size), (size_t size, size_t align), size, align)
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, aligned(align, size),
    (size_t size, size_t align, const void *nothrow), size, align, nothrow)
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, aligned(align, size),
    (size_t size, size_t align, const void *nothrow), size, align, nothrow)

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
