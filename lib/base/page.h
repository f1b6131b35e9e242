/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PAGE_H
#define RDM_PAGE_H

/* The kernel's page, for who may be called before there is a pool. No system call. */

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

static inline size_t rdm_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static inline unsigned rdm_page_shift(void)
{
	return (unsigned)__builtin_ctzl(rdm_page_size());
}

/* The start of the page that an address is in. */
static inline char *rdm_page_start(const void *addr)
{
	return (char *)((uintptr_t)addr & ~(uintptr_t)(rdm_page_size() - 1));
}

/* So many bytes and more, up to whole pages. */
static inline size_t rdm_page_up(size_t length)
{
	return (length + rdm_page_size() - 1) & ~(rdm_page_size() - 1);
}

#endif
