/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_KERNEL_H
#define RDM_KERNEL_H

/*
 * System calls on memory that do not pass through libc. UCX's memory hooks overwrite
 * libc's functions: what they call may want locks that are held here, and the one for
 * mremap loses its last argument.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* Private anonymous memory; MAP_FAILED with errno. */
static inline void *rdm_kernel_map(void *addr, size_t length, int protection, int flags)
{
	return (void *)syscall(SYS_mmap, addr, length, protection,
			       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static inline int rdm_kernel_unmap(void *addr, size_t length)
{
	return (int)syscall(SYS_munmap, addr, length);
}

/* Moves it to these addresses; false with errno. */
static inline bool rdm_kernel_move(void *from, void *to, size_t length, int flags)
{
	return syscall(SYS_mremap, from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
		       to) == (long)(uintptr_t)to;
}

/* Moves pages to addresses of the kernel's choice and leaves none; MAP_FAILED with errno: all is as it was. */
static inline void *rdm_kernel_move_anywhere(void *from, size_t length)
{
	return (void *)syscall(SYS_mremap, from, length, length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
			       0);
}

static inline int rdm_kernel_advise(void *addr, size_t length, int advice)
{
	return (int)syscall(SYS_madvise, addr, length, advice);
}

#endif
