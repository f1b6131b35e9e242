/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * prctl, by which a program enters a sandbox. It is passed on; that it has happened is noted, and
 * what could not be asked in there is asked before (base/sandbox.h). The other way, the system
 * call seccomp, comes through syscall(): libc has no function of its own for it.
 */
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox.h"
#include "plain/vmpin.h"
#include "preload/preload.h"

bool rdm_preload_is_door(long number, unsigned long operation)
{
	return number == SYS_seccomp &&
	       (operation == SECCOMP_SET_MODE_STRICT || operation == SECCOMP_SET_MODE_FILTER);
}

void rdm_preload_before_door(void)
{
	rdm_log_is_stderr(STDERR_FILENO);
	rdm_vmpin_read_last();
}

void rdm_preload_behind_door(void)
{
	atomic_store(&rdm_sandbox_entered, true);
}

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
