/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What goes with entering a sandbox, by prctl() (sandbox.c) or by a system call (process.c): what
 * could not be asked in there is asked before, and that it has happened is noted (base/sandbox.h).
 */
#include <linux/seccomp.h>
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
