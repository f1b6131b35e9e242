/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * prctl: a program that locks itself into a sandbox (seccomp) may be ended for a system call
 * that it does not know, as malloc makes none to open a file. So what is read of /proc is read a
 * last time before. Who makes the system call itself comes by syscall() (process.c), or unseen.
 */
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plain/vmpin.h"
#include "preload/preload.h"

void rdm_preload_before_call(long number, long first)
{
	if (number == SYS_seccomp || (number == SYS_prctl && first == PR_SET_SECCOMP))
		rdm_vmpin_read_last();
}

static int (*next)(int option, ...);

/* With all that looks up what it needs, before there are threads. */
__attribute__((constructor(101))) static void find_all(void)
{
	void *symbol = dlsym(RTLD_NEXT, "prctl");

	memcpy(&next, &symbol, sizeof(symbol));
}

/* The C library's header has reserved names. NOLINTNEXTLINE(readability-inconsistent-*) */
RDM_EXPORT int prctl(int option, ...)
{
	unsigned long arg[4];
	va_list rest;

	va_start(rest, option);
	for (unsigned i = 0; i < 4; i++)
		arg[i] = va_arg(rest, unsigned long);
	va_end(rest);
	rdm_preload_before_call(SYS_prctl, option);
	return next ? next(option, arg[0], arg[1], arg[2], arg[3]) :
		      (int)syscall(SYS_prctl, option, arg[0], arg[1], arg[2], arg[3]);
}
