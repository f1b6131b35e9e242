/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * prctl, by which a program enters a sandbox. It is passed on; that it has happened is noted, and
 * what could not be asked in there is asked before (base/sandbox.h). The other way, the system
 * call seccomp, comes through syscall(): libc has no function of its own for it.
 */
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/preload.h"

RDM_EXPORT int prctl(int option, ...)
{
	bool door = option == PR_SET_SECCOMP;
	unsigned long arg[4];
	va_list rest;
	int result;

	va_start(rest, option);
	for (unsigned i = 0; i < 4; i++)
		arg[i] = va_arg(rest, unsigned long);
	va_end(rest);
	if (!rdm_preload_notes_prctl(option, arg))
		return -1;
	if (door)
		rdm_preload_before_door();
	result = (int)syscall(SYS_prctl, option, arg[0], arg[1], arg[2], arg[3]);
	if (door && !result)
		rdm_preload_behind_door();
	return result;
}
