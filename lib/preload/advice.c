/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * madvise: what would move pages under a registration, or let fork() share them, does
 * not reach those that are registered. UCX's memory hooks overwrite the first bytes of this
 * function, so that this is an attempt only: fork() itself marks the pages again.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "memory/reserve.h"
#include "plain/notes.h"
#include "plain/pins.h"
#include "preload/preload.h"

static int next(void *addr, size_t length, int advice)
{
	return (int)syscall(SYS_madvise, addr, length, advice);
}

static bool is_harmful(int advice)
{
	switch (advice) {
	case MADV_DOFORK:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_MERGEABLE:
	case MADV_PAGEOUT:
		return true;
	default:
		return false;
	}
}

static int advise(void *addr, size_t length, int advice)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *at = addr;
	char *end = at + length;

	if (!is_harmful(advice) || !rdm_reserve_has(addr) || (uintptr_t)addr % page ||
	    !rdm_pins_any(addr, length))
		return next(addr, length, advice);
	for (; at < end; at += page) {
		if (!rdm_pins_any(at, page)) {
			if (next(at, page, advice))
				return -1;
		} else if (advice == MADV_DONTNEED || advice == MADV_REMOVE) {
			/* That is what its owner will find. */
			memset(at, 0, page);
		}
	}
	return 0;
}

/* The C library's header has reserved names. NOLINTNEXTLINE(readability-inconsistent-*) */
RDM_EXPORT int madvise(void *addr, size_t length, int advice)
{
	unsigned kinds = rdm_advice_kinds(advice);
	int result;

	if (kinds && !rdm_notes_add(addr, length, kinds))
		return -1;
	result = advise(addr, length, advice);
	if (!result)
		rdm_notes_end(addr, length, rdm_advice_undone(advice));
	return result;
}
