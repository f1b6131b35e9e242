/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * madvise and process_madvise: what would move pages under a registration, or let fork() share
 * them, does not reach those that are registered. For each advice man 7 has what is done
 * instead. What is passed on goes to libc's functions, which UCX's memory hooks may have patched, and
 * look whether their calls arrive. Where they overwrite ours, this is an attempt
 * only: fork() itself marks the pages again.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/page.h"
#include "plain/notes.h"
#include "plain/pins.h"
#include "preload/preload.h"

/* Not in the headers of old ones. */
ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t count, int advice,
			unsigned flags);

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

/* Linux's numbers, of which headers may have fewer. */
enum {
	DONTNEED = 4,
	FREE = 8,
	REMOVE = 9,
	DOFORK = 11,
	MERGEABLE = 12,
	PAGEOUT = 21,
	DONTNEED_LOCKED = 24,
	COLLAPSE = 25,
	GUARD_REMOVE = 103,
};

enum effect {
	HARMLESS, /* goes to all pages */
	WITHHELD, /* not to those that are registered: it promises nothing */
	ZEROED,   /* neither, but that is what their owner will find */
	REFUSED,  /* with EINVAL, as by a kernel that does not know it */
};

static enum effect effect_of(int advice)
{
	switch (advice) {
	case DOFORK:
	case FREE:
	case MERGEABLE:
	case PAGEOUT:
	case COLLAPSE:
		return WITHHELD;
	case DONTNEED:
	case DONTNEED_LOCKED:
		return ZEROED;
	case MADV_NORMAL:
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_WILLNEED:
	/* For memory as ours the kernel refuses it. */
	case REMOVE:
	case MADV_DONTFORK:
	case 13: /* MADV_UNMERGEABLE */
	case 14: /* MADV_HUGEPAGE */
	case 15: /* MADV_NOHUGEPAGE */
	case 16: /* MADV_DONTDUMP */
	case 17: /* MADV_DODUMP */
	case 18: /* MADV_WIPEONFORK */
	case 19: /* MADV_KEEPONFORK */
	case 20: /* MADV_COLD */
	case 22: /* MADV_POPULATE_READ */
	case 23: /* MADV_POPULATE_WRITE */
	case GUARD_REMOVE:
		return HARMLESS;
	/* MADV_GUARD_INSTALL and what is newer than this. */
	default:
		return REFUSED;
	}
}

static int (*next_madvise)(void *, size_t, int);
static ssize_t (*next_process_madvise)(int, const struct iovec *, size_t, int, unsigned);

static void *find(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* With all that looks up what it needs, before there are threads. */
__attribute__((constructor(101))) static void find_all(void)
{
	void *symbol = find("madvise");

	memcpy(&next_madvise, &symbol, sizeof(symbol));
	symbol = find("process_madvise");
	memcpy(&next_process_madvise, &symbol, sizeof(symbol));
}

static int pass_on(void *addr, size_t length, int advice)
{
	return next_madvise ? next_madvise(addr, length, advice) :
			      (int)syscall(SYS_madvise, addr, length, advice);
}

static bool is_registered(const char *addr, size_t length)
{
	return length && (uintptr_t)addr + length > (uintptr_t)addr && rdm_pins_exist() &&
	       rdm_pins_any(addr, length);
}

/* Runs of pages that are registered, and of those that are not. */
static int advise_around(char *at, const char *end, int advice, enum effect effect)
{
	size_t page = rdm_page_size(), length;

	for (; at < end; at += length) {
		bool registered = is_registered(at, page);

		for (length = page; at + length < end; length += page)
			if (is_registered(at + length, page) != registered)
				break;
		if (!registered && pass_on(at, length, advice))
			return -1;
		if (registered && effect == ZEROED)
			memset(at, 0, length);
	}
	return 0;
}

static int advise(void *addr, size_t length, int advice)
{
	enum effect effect = effect_of(advice);

	/* An address that is none of a page's start the kernel refuses. */
	if (effect == HARMLESS || rdm_page_start(addr) != (char *)addr ||
	    !is_registered(addr, rdm_page_up(length)))
		return pass_on(addr, length, advice);
	if (effect == REFUSED) {
		errno = EINVAL;
		return -1;
	}
	return advise_around(addr, (char *)addr + rdm_page_up(length), advice, effect);
}

/* Whether that is this process, or cannot be known. */
static bool is_self(int pidfd)
{
	static const char key[] = "\nPid:\t";
	char path[sizeof("/proc/self/fdinfo/1234567890")], text[512];
	const char *line;
	ssize_t got;
	int fd;

	/* PIDFD_SELF_THREAD, PIDFD_SELF_THREAD_GROUP */
	if (pidfd < 0)
		return pidfd == -10000 || pidfd == -10001;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	line = strstr(text, key);
	return !line || strtol(line + sizeof(key) - 1, NULL, 10) == getpid();
}

static bool reaches_registered(const struct iovec *iov, size_t count, int advice)
{
	for (size_t i = 0; effect_of(advice) != HARMLESS && i < count && i < IOV_MAX; i++)
		if (is_registered(iov[i].iov_base, rdm_page_up(iov[i].iov_len)))
			return true;
	return false;
}

/* The C library's header has reserved names. NOLINTNEXTLINE(readability-inconsistent-*) */
RDM_EXPORT ssize_t process_madvise(int pidfd, const struct iovec *iov, size_t count, int advice,
				   unsigned flags)
{
	unsigned kinds = rdm_advice_kinds(advice);
	ssize_t done = 0;

	for (size_t i = 0; kinds && iov && i < count && i < IOV_MAX; i++)
		if (!rdm_notes_add(iov[i].iov_base, iov[i].iov_len, kinds))
			return -1;
	if (!iov || !reaches_registered(iov, count, advice) || !is_self(pidfd))
		return next_process_madvise ?
			       next_process_madvise(pidfd, iov, count, advice, flags) :
			       syscall(SYS_process_madvise, pidfd, iov, count, advice, flags);
	for (size_t i = 0; i < count && i < IOV_MAX; i++) {
		/* As the kernel says it: what was done before something failed. */
		if (advise(iov[i].iov_base, iov[i].iov_len, advice))
			return done ? done : -1;
		done += (ssize_t)iov[i].iov_len;
	}
	return done;
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
