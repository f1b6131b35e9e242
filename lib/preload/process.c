/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What makes processes, and threads on stacks of ours. Our fork handlers are to be registered before anybody's, so that
 * the child's memory is there when another library's handler looks at it; and what calls no
 * handlers gets the part of them that the child cannot do without.
 */
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
#include "base/page.h"
#include "fork/fork.h"
#include "memory/meta.h"
#include "memory/reserve.h"
#include "plain/kernel_copies.h"
#include "plain/pins.h"
#include "plain/stacks.h"
#include "preload/lookup.h"
#include "preload/preload.h"

int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *dso);

/* Looked up before anybody can be in a signal handler. */
static struct {
	int (*register_atfork)(void (*)(void), void (*)(void), void (*)(void), void *);
	pid_t (*fork)(void);
	pid_t (*bare_fork)(void);
	int (*clone)(int (*)(void *), void *, int, void *, ...);
	long (*syscall)(long, ...);
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} next;

static void *find(const char *name)
{
	return rdm_lookup_next(name);
}

__attribute__((constructor(101))) static void find_all(void)
{
	void *symbol = find("fork");

	memcpy(&next.fork, &symbol, sizeof(symbol));
	symbol = find("_Fork");
	memcpy(&next.bare_fork, &symbol, sizeof(symbol));
	symbol = find("clone");
	memcpy(&next.clone, &symbol, sizeof(symbol));
	symbol = find("syscall");
	memcpy(&next.syscall, &symbol, sizeof(symbol));
	symbol = find("pthread_create");
	memcpy(&next.create, &symbol, sizeof(symbol));
}

/*
 * What of a stack is used between a system call that forks and our handlers cannot be kept from the
 * child (stacks.h). So that nothing of the program's is on these pages, a call goes on below the
 * next boundary of a page.
 */
static size_t to_boundary(const char *frame)
{
	return (size_t)(frame - rdm_page_start(frame));
}

/* A thread that begins on a stack of ours. */
struct beginning {
	void *(*start)(void *);
	void *arg;
	const char *end; /* of the stack */
};

__attribute__((noinline)) static void *begin_below(const struct beginning *beginning, size_t gap)
{
	volatile char *space = __builtin_alloca(gap + 1);
	void *result;

	*space = 0;
	result = beginning->start(beginning->arg);
	/* It stays until then. */
	*space = 1;
	return result;
}

static void *begin(void *arg)
{
	struct beginning beginning = *(struct beginning *)arg;
	const char *frame = __builtin_frame_address(0);

	rdm_meta_free(arg);
	rdm_pins_name_own(rdm_page_start(frame), beginning.end);
	return begin_below(&beginning, to_boundary(frame));
}

/* On a smaller stack a page is much. */
#define SMALL_STACK ((size_t)64 << 10)

static int create(pthread_t *thread, const pthread_attr_t *attr, const struct beginning *beginning,
		  size_t length)
{
	struct beginning *kept = length < SMALL_STACK ? NULL : rdm_meta_alloc(sizeof(*kept));
	int error;

	if (!kept)
		return next.create(thread, attr, beginning->start, beginning->arg);
	*kept = *beginning;
	error = next.create(thread, attr, begin, kept);
	if (error)
		rdm_meta_free(kept);
	return error;
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
	error = create(thread, attr,
		       &(struct beginning){ start, arg, (const char *)stack + length }, length);
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

static void end(const struct rdm_fork *made, bool child)
{
	int saved = errno;

	if (child)
		rdm_fork_end_in_child(made);
	else
		rdm_fork_end_in_parent(made);
	errno = saved;
}

/* What makes a child that comes back from it. */
typedef long making(void *arg);

__attribute__((noinline)) static long make_below(making *make, void *arg, const char *frame)
{
	volatile char *space = __builtin_alloca(to_boundary(frame) + 1);
	long result;

	*space = 0;
	rdm_stacks_set_caller(rdm_page_start(frame));
	result = make(arg);
	rdm_stacks_set_caller(NULL);
	*space = 1;
	return result;
}

/* Where it matters: something is registered around here. */
static long make_by(making *make, void *arg, const char *frame)
{
	if (!rdm_reserve_has(frame) ||
	    !rdm_pins_any(rdm_page_start(frame), RDM_STACK_ABOVE + rdm_page_size()))
		return make(arg);
	return make_below(make, arg, frame);
}

static long call_fork(void *unused)
{
	(void)unused;
	return next.fork();
}

RDM_EXPORT pid_t fork(void)
{
	if (!next.fork) {
		errno = ENOSYS;
		return -1;
	}
	return (pid_t)make_by(call_fork, NULL, __builtin_frame_address(0));
}

static long call_bare_fork(void *unused)
{
	struct rdm_fork made;
	pid_t pid;

	(void)unused;
	rdm_fork_begin(&made, __builtin_frame_address(0));
	pid = next.bare_fork();
	end(&made, pid == 0);
	return pid;
}

RDM_EXPORT pid_t _Fork(void)
{
	if (!next.bare_fork) {
		errno = ENOSYS;
		return -1;
	}
	return (pid_t)make_by(call_bare_fork, NULL, __builtin_frame_address(0));
}

struct start {
	int (*call)(void *);
	void *arg;
	struct rdm_fork made;
};

/* On the child's stack, as this is: the caller's may be a hole. */
static struct start *place_start(const struct start *start, char *stack)
{
	struct start *placed = (struct start *)(stack - sizeof(*start) - (uintptr_t)stack % 64);

	*placed = *start;
	return placed;
}

static int start_child(void *arg)
{
	struct start start = *(struct start *)arg;

	end(&start.made, true);
	rdm_stacks_set_caller(NULL);
	return start.call(start.arg);
}

RDM_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	struct start start = { .call = fn, .arg = arg }, *placed;
	void *tls, *parent_tid, *child_tid;
	va_list rest;
	int pid;

	va_start(rest, arg);
	parent_tid = va_arg(rest, void *);
	tls = va_arg(rest, void *);
	child_tid = va_arg(rest, void *);
	va_end(rest);
	if (!next.clone) {
		errno = ENOSYS;
		return -1;
	}
	if (flags & CLONE_VM || !stack || rdm_kernel_copies_asks())
		return next.clone(fn, stack, flags, arg, parent_tid, tls, child_tid);
	rdm_stacks_set_caller(stack);
	rdm_fork_begin(&start.made, (char *)stack - 1);
	placed = place_start(&start, stack);
	pid = next.clone(start_child, placed, flags, placed, parent_tid, tls, child_tid);
	end(&start.made, false);
	rdm_stacks_set_caller(NULL);
	return pid;
}

/* Its other name in the C library, whose header has reserved names. NOLINTNEXTLINE */
RDM_EXPORT int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
	__attribute__((nothrow, leaf, alias("clone")));

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

/* Of what clone3() gets the first version has these; a longer one begins with it. */
struct clone3 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

#ifndef SYS_clone3
#define SYS_clone3 435
#endif

/* A child that comes back from the call on the stack it was made on, with memory of its own. */
static bool forks(long number, const long arg[6])
{
	const struct clone3 *args = (const struct clone3 *)(uintptr_t)arg[0];

#ifdef SYS_fork
	if (number == SYS_fork)
		return true;
#endif
	if (number == SYS_clone)
		return !(arg[0] & CLONE_VM) && !arg[1];
	/* What the kernel will refuse is for it to refuse. */
	return number == SYS_clone3 && (size_t)arg[1] >= sizeof(*args) && args &&
	       !(args->flags & CLONE_VM) && !args->stack;
}

static bool is_for_us(long number)
{
#ifdef SYS_fork
	if (number == SYS_fork)
		return true;
#endif
	return number == SYS_clone || number == SYS_clone3;
}

struct system_call {
	long number;
	const long *arg;
};

static long fork_by_kernel(void *arg)
{
	const struct system_call *call = arg;
	struct rdm_fork made;
	long result;

	rdm_fork_begin(&made, __builtin_frame_address(0));
	result = enter_kernel(call->number, call->arg);
	end(&made, result == 0);
	return result;
}

/* As enter_kernel() does, an error is a number below 0. */
static long pass_on(long number, const long arg[6])
{
	long result = next.syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);

	return result == -1 ? -errno : result;
}

/* The C library's header has reserved names. NOLINTNEXTLINE(readability-inconsistent-*) */
RDM_EXPORT long syscall(long number, ...)
{
	struct system_call call = { .number = number };
	bool door;
	long arg[6], result;
	va_list rest;

	va_start(rest, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(rest, long);
	va_end(rest);
	door = rdm_preload_is_door(number, (unsigned long)arg[0]);
	if (door)
		rdm_preload_before_door();
	if (is_for_us(number) && forks(number, arg)) {
		call.arg = arg;
		result = make_by(fork_by_kernel, &call, __builtin_frame_address(0));
	} else {
		/* A child that begins on another stack comes back there from the C library's function, and not here. */
		result = next.syscall ? pass_on(number, arg) : enter_kernel(number, arg);
	}
	if (door && !result)
		rdm_preload_behind_door();
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}
#endif
