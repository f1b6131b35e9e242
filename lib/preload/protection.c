/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mprotect, mlock and what else, besides madvise, a program can do to pages of its own blocks
 * that the next owner must not find: it is noted (notes.h), and undone when the block is freed.
 * What cannot be noted is refused with ENOMEM, as the kernel refuses what it cannot keep a record
 * of. System calls that are made directly go unnoticed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/reserve.h"
#include "plain/notes.h"
#include "preload/preload.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#define MADV_KEEPONFORK 19
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
/* Of newer kernels: MADV_POPULATE_READ to MADV_COLLAPSE, MADV_GUARD_REMOVE. */
#define POPULATE_READ 22
#define COLLAPSE 25
#define GUARD_REMOVE 103
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* libnuma's, and not in its header where there is none. */
long mbind(void *addr, unsigned long length, int mode, const unsigned long *nodes,
	   unsigned long most, unsigned flags);

/*
 * Looked up before anybody can be in a signal handler. What a C library may lack, and libnuma's, are
 * the system call and nothing else.
 */
static struct {
	int (*mprotect)(void *, size_t, int);
	int (*pkey_mprotect)(void *, size_t, int, int);
	int (*mlock)(const void *, size_t);
	int (*mlock2)(const void *, size_t, unsigned);
	int (*munlock)(const void *, size_t);
	int (*posix_madvise)(void *, size_t, int);
	int (*prctl)(int, ...);
} next;

#define FIND(name)                                           \
	do {                                                 \
		void *symbol = dlsym(RTLD_NEXT, #name);      \
                                                             \
		memcpy(&next.name, &symbol, sizeof(symbol)); \
	} while (0)

__attribute__((constructor(101))) static void find_all(void)
{
	FIND(mprotect);
	FIND(pkey_mprotect);
	FIND(mlock);
	FIND(mlock2);
	FIND(munlock);
	FIND(posix_madvise);
	FIND(prctl);
}

/* The next function of that name; where there is none, or it was not looked up yet, the system call. */
#define NEXT(name, ...)                       \
	(next.name ? next.name(__VA_ARGS__) : \
		     (__typeof__(next.name(__VA_ARGS__)))syscall(SYS_##name, __VA_ARGS__))

unsigned rdm_advice_kinds(int advice)
{
	switch (advice) {
	case MADV_NORMAL:
	case MADV_WILLNEED:
	case MADV_DONTNEED:
	case MADV_FREE:
	case MADV_REMOVE:
	case MADV_DOFORK:
	case MADV_UNMERGEABLE:
	case MADV_DODUMP:
	case MADV_KEEPONFORK:
	case MADV_COLD:
	case MADV_PAGEOUT:
	case GUARD_REMOVE:
		return 0;
	case MADV_DONTFORK:
		return RDM_NOTE_FORK;
	case MADV_WIPEONFORK:
		return RDM_NOTE_WIPE;
	case MADV_RANDOM:
	case MADV_SEQUENTIAL:
	case MADV_DONTDUMP:
	case MADV_MERGEABLE:
		return RDM_NOTE_ADVICE;
	case MADV_HUGEPAGE:
	case MADV_NOHUGEPAGE:
		return RDM_NOTE_HUGE;
	default:
		return advice >= POPULATE_READ && advice <= COLLAPSE ? 0 : RDM_NOTE_OTHER;
	}
}

unsigned rdm_advice_undone(int advice)
{
	return advice == MADV_DOFORK     ? RDM_NOTE_FORK :
	       advice == MADV_KEEPONFORK ? RDM_NOTE_WIPE :
					   0;
}

static bool is_note_refused(const void *addr, size_t length, unsigned kinds)
{
	return kinds && !rdm_notes_add(addr, length, kinds);
}

/* The C library's headers have reserved names. NOLINTBEGIN(readability-inconsistent-*) */
RDM_EXPORT int mprotect(void *addr, size_t length, int protection)
{
	bool usual = protection == (PROT_READ | PROT_WRITE);
	int result;

	if (is_note_refused(addr, length, usual ? 0 : RDM_NOTE_PROTECTION))
		return -1;
	result = NEXT(mprotect, addr, length, protection);
	if (usual && !result)
		rdm_notes_end(addr, length, RDM_NOTE_PROTECTION);
	return result;
}

RDM_EXPORT int pkey_mprotect(void *addr, size_t length, int protection, int key)
{
	unsigned kinds = RDM_NOTE_PROTECTION | (key > 0 ? RDM_NOTE_OTHER : 0);

	return is_note_refused(addr, length, kinds) ?
		       -1 :
		       (int)NEXT(pkey_mprotect, addr, length, protection, key);
}

RDM_EXPORT int mlock(const void *addr, size_t length)
{
	return is_note_refused(addr, length, RDM_NOTE_LOCK) ? -1 : (int)NEXT(mlock, addr, length);
}

RDM_EXPORT int mlock2(const void *addr, size_t length, unsigned flags)
{
	return is_note_refused(addr, length, RDM_NOTE_LOCK) ?
		       -1 :
		       (int)NEXT(mlock2, addr, length, flags);
}

RDM_EXPORT int munlock(const void *addr, size_t length)
{
	int result = (int)NEXT(munlock, addr, length);

	if (!result)
		rdm_notes_end(addr, length, RDM_NOTE_LOCK);
	return result;
}

RDM_EXPORT int posix_madvise(void *addr, size_t length, int advice)
{
	unsigned kinds = advice == POSIX_MADV_RANDOM || advice == POSIX_MADV_SEQUENTIAL ?
				 RDM_NOTE_ADVICE :
				 0;

	if (is_note_refused(addr, length, kinds))
		return ENOMEM;
	return next.posix_madvise ? next.posix_madvise(addr, length, advice) : ENOSYS;
}

/* In whatever process it is: a note too many costs little. */
RDM_EXPORT long mbind(void *addr, unsigned long length, int mode, const unsigned long *nodes,
		      unsigned long most, unsigned flags)
{
	/* 0 is MPOL_DEFAULT, with which pages stay where the former policy has put them. */
	return is_note_refused(addr, length, mode ? RDM_NOTE_OTHER : 0) ?
		       -1 :
		       syscall(SYS_mbind, addr, length, mode, nodes, most, flags);
}

/* NOLINTEND(readability-inconsistent-*) */

bool rdm_preload_notes_prctl(int option, const unsigned long arg[4])
{
	return option != PR_SET_VMA || !is_note_refused((void *)arg[1], arg[2], RDM_NOTE_OTHER);
}
