/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/pages.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "memory/locked.h"
#include "memory/reserve.h"

/* Charged for, as malloc's is. */
int rdm_pages_map(void *addr, size_t length)
{
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_locked_on_fault(addr, length);
	return syscall(SYS_mprotect, addr, length, PROT_READ | PROT_WRITE) ? errno : 0;
}

/* Pages that were moved there keep mappings of their own, so large runs are mapped anew. */
void rdm_pages_discard(void *addr, size_t length, bool moved)
{
	rdm_assert(length);
	if (length >= RDM_MOVED_BYTES && moved &&
	    rdm_kernel_map(addr, length, PROT_READ | PROT_WRITE, MAP_FIXED) == addr)
		return;
	if (rdm_kernel_advise(addr, length, MADV_DONTNEED))
		rdm_log(RDM_LOG_WARN, "madvise(MADV_DONTNEED) on %zu free bytes: %s", length,
			strerror(errno));
}

/* Before Linux 5.7 the flag is EINVAL, before the old pages are touched. */
bool rdm_pages_move(void *to, void *from, size_t length)
{
	if (length < RDM_MOVED_BYTES)
		return false;
	if (rdm_kernel_move(from, to, length, MREMAP_DONTUNMAP))
		return true;
	/* What was there may be gone. */
	if (rdm_kernel_map(to, length, PROT_READ | PROT_WRITE, MAP_FIXED) != to)
		rdm_die("%zu bytes cannot be mapped again (%s)", length, strerror(errno));
	return false;
}
