/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What makes processes, and threads on stacks of ours. Our fork handlers are to be registered before anybody's, so that
 * the child's memory is there when another library's handler looks at it; and what calls no
 * handlers gets the part of them that the child cannot do without.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/log.h"
#include "fork/fork.h"
#include "memory/reserve.h"
#include "plain/bare_fork.h"
#include "plain/pins.h"
#include "preload/preload.h"

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);

/* Looked up before anybody can be in a signal handler. */
static struct {
	int (*register_atfork)(void (*)(void), void (*)(void), void (*)(void), void *);
	pid_t (*fork)(void);
	int (*clone)(int (*)(void *), void *, int, void *, ...);
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} next;

static void *find(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor(101))) static void find_all(void)
{
	void *symbol = find("_Fork");

	memcpy(&next.fork, &symbol, sizeof(symbol));
	symbol = find("clone");
	memcpy(&next.clone, &symbol, sizeof(symbol));
	symbol = find("pthread_create");
	memcpy(&next.create, &symbol, sizeof(symbol));
}

/* The C library's header has reserved names. NOLINTNEXTLINE(readability-inconsistent-*) */
RDM_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
			      void *arg)
{
	void *stack = NULL;
	size_t length;
	int error;

	/* An earlier library's constructor was faster. */
	if (!next.create)
		find_all();
	if (!attr || pthread_attr_getstack(attr, &stack, &length) || !rdm_reserve_has(stack))
		return next.create(thread, attr, start, arg);
	rdm_pins_note_stack(stack, length);
	error = next.create(thread, attr, start, arg);
	if (error)
		rdm_pins_forget_stacks(stack, length);
	return error;
}

RDM_EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
				 void *dso)
{
	if (!next.register_atfork) {
		void *symbol = find("__register_atfork");

		if (!symbol)
			rdm_die("the C library has no __register_atfork(), which pthread_atfork() needs");
		memcpy(&next.register_atfork, &symbol, sizeof(symbol));
	}
	if (!rdm_ablated(RDM_ABLATE_FIRST))
		rdm_fork_init();
	return next.register_atfork(prepare, parent, child, dso);
}

RDM_EXPORT pid_t _Fork(void)
{
	bool bare;
	pid_t pid;

	if (!next.fork) {
		errno = ENOSYS;
		return -1;
	}
	bare = rdm_bare_fork_prefork(__builtin_frame_address(0));
	pid = next.fork();
	if (bare)
		rdm_bare_fork_postfork(pid == 0);
	return pid;
}

struct start {
	int (*call)(void *);
	void *arg;
};

static int start_child(void *arg)
{
	struct start start = *(struct start *)arg;

	rdm_bare_fork_postfork(true);
	return start.call(start.arg);
}

RDM_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct start start = { .call = fn, .arg = arg };
	void *tls, *parent_tid, *child_tid;
	va_list rest;
	int pid;

	va_start(rest, arg);
	parent_tid = va_arg(rest, void *);
	tls = va_arg(rest, void *);
	child_tid = va_arg(rest, void *);
	va_end(rest);
	if (flags & CLONE_VM || !rdm_bare_fork_prefork(stack))
		return next.clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
	pid = next.clone(start_child, stack, flags, &start, parent_tid, tls, child_tid);
	rdm_bare_fork_postfork(false);
	return pid;
}

#if defined(__x86_64__) || defined(__aarch64__)
static long enter_kernel(long number, const long arg[6])
{
#ifdef __x86_64__
	register long a3 __asm__("r10") = arg[3];
	register long a4 __asm__("r8") = arg[4];
	register long a5 __asm__("r9") = arg[5];
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(number), "D"(arg[0]), "S"(arg[1]), "d"(arg[2]), "r"(a3), "r"(a4),
			   "r"(a5)
			 : "rcx", "r11", "memory");
	return result;
#else
	register long nr __asm__("x8") = number;
	register long a0 __asm__("x0") = arg[0];
	register long a1 __asm__("x1") = arg[1];
	register long a2 __asm__("x2") = arg[2];
	register long a3 __asm__("x3") = arg[3];
	register long a4 __asm__("x4") = arg[4];
	register long a5 __asm__("x5") = arg[5];

	__asm__ volatile("svc 0"
			 : "+r"(a0)
			 : "r"(nr), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
			 : "memory");
	return a0;
#endif
}

/* A child that comes back from the call on the stack it was made on, with memory of its own. */
static bool forks(long number, const long arg[6])
{
#ifdef SYS_fork
	if (number == SYS_fork)
		return true;
#endif
	return number == SYS_clone && !(arg[0] & CLONE_VM) && !arg[1];
}

/* The C library's header has reserved names. NOLINTNEXTLINE(readability-inconsistent-*) */
RDM_EXPORT long syscall(long number, ...)
{
	bool bare = false;
	long arg[6], result;
	va_list rest;

	va_start(rest, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(rest, long);
	va_end(rest);
	rdm_preload_before_call(number, arg[0]);
	if (forks(number, arg))
		bare = rdm_bare_fork_prefork(__builtin_frame_address(0));
	result = enter_kernel(number, arg);
	if (bare)
		rdm_bare_fork_postfork(result == 0);
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}
#endif
