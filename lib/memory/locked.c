/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/locked.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static bool all_future;

void rdm_locked_note(bool future)
{
	__atomic_store_n(&all_future, future, __ATOMIC_RELAXED);
}

bool rdm_locked_future(void)
{
	return __atomic_load_n(&all_future, __ATOMIC_RELAXED);
}

void rdm_locked_on_fault(void *addr, size_t length)
{
	int saved = errno;

	rdm_assert(addr && length);
	/* Before Linux 4.4 it is ENOSYS: then all pages are made, which is what was asked for. */
	if (rdm_locked_future())
		syscall(SYS_mlock2, addr, length, MLOCK_ONFAULT);
	errno = saved;
}
