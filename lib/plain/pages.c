/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/pages.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/page.h"
#include "memory/locked.h"
#include "memory/reserve.h"
#include "memory/state.h"
#include "plain/present.h"

/* Charged for, as malloc's is. */
int rdm_pages_map(void *addr, size_t length)
{
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_locked_on_fault(addr, length);
	return syscall(SYS_mprotect, addr, length, PROT_READ | PROT_WRITE) ? errno : 0;
}

static size_t page_size(void)
{
	return (size_t)1 << rdm_state.page_shift;
}

/* Charged for, as malloc's is. Elsewhere first, so that a failure leaves the reserve as it is. */
int rdm_pages_renew(void *addr, size_t length, bool dontfork)
{
	void *memory = rdm_kernel_map(NULL, length, PROT_READ | PROT_WRITE, 0);
	int error = errno;

	rdm_assert(length && !(((uintptr_t)addr | length) & (page_size() - 1)));
	if (memory == MAP_FAILED)
		return error;
	if ((!dontfork || !rdm_kernel_advise(memory, length, MADV_DONTFORK)) &&
	    rdm_kernel_move(memory, addr, length, 0))
		return 0;
	error = errno;
	rdm_kernel_unmap(memory, length);
	return error;
}

/* Of free pages, which may be a hole when a MAP_FIXED of ours has failed, or a stranger's munmap() did not. */
static void mend(void *addr, size_t length, bool dontfork)
{
	if (rdm_kernel_map(addr, length, PROT_READ | PROT_WRITE, MAP_FIXED) == MAP_FAILED ||
	    (dontfork && rdm_kernel_advise(addr, length, MADV_DONTFORK)))
		rdm_die("%zu free bytes at %p are not mapped any more, and cannot be (%s)", length,
			addr, strerror(errno));
}

bool rdm_pages_discard(void *addr, size_t length, bool heritable)
{
	rdm_assert(length);
	/* Pages that were moved there keep mappings of their own, so large runs are mapped anew. */
	if (length >= RDM_MOVED_BYTES && heritable && !rdm_locked_future() &&
	    rdm_kernel_map(addr, length, PROT_READ | PROT_WRITE, MAP_FIXED) == addr)
		return true;
	if (!rdm_kernel_advise(addr, length, MADV_DONTNEED))
		return true;
	/* EINVAL: locked memory stays. */
	if (errno != ENOMEM)
		return false;
	mend(addr, length, !heritable);
	return true;
}

/* They are at an address of the kernel's choice now. */
static void put_there(void *to, void *pages, size_t length)
{
	if (rdm_kernel_move(pages, to, length, 0))
		return;
	/* Where the kernel fails late, what was there may be gone. */
	if (rdm_kernel_advise(to, length, MADV_DONTNEED) && errno == ENOMEM)
		mend(to, length, false);
	memcpy(to, pages, length);
	if (rdm_kernel_unmap(pages, length))
		rdm_log(RDM_LOG_WARN, "munmap of %zu bytes that were copied: %s", length,
			strerror(errno));
}

/*
 * Through an address of the kernel's choice: a move to given addresses that fails, as that of two
 * mappings at a time does on most kernels, has unmapped what was there.
 */
static bool move_whole(char *to, char *from, size_t length)
{
	void *pages = rdm_kernel_move_anywhere(from, length);

	if (pages == MAP_FAILED)
		return false;
	put_there(to, pages, length);
	return true;
}

/* Whole pages go, the rest is written. */
static void make_zero(char *at, char *end)
{
	char *first = rdm_page_start(at + page_size() - 1), *last = rdm_page_start(end);

	if (first >= last || rdm_kernel_advise(first, (size_t)(last - first), MADV_DONTNEED)) {
		memset(at, 0, (size_t)(end - at));
		return;
	}
	memset(at, 0, (size_t)(first - at));
	memset(last, 0, (size_t)(end - last));
}

void rdm_pages_copy(void *to, const void *from, size_t length)
{
	const char *at = from, *end = at + length;
	int saved = errno, fd = rdm_present_open();
	char *there = to;

	while (at < end) {
		bool present;
		size_t run = rdm_present_run(fd, at, end, &present);

		if (present)
			memcpy(there, at, run);
		else
			make_zero(there, there + run);
		at += run;
		there += run;
	}
	rdm_present_close(fd);
	errno = saved;
}

/* What is several mappings, in pieces, of which those that are not worth it are copied. */
static void move_pieces(char *to, char *from, size_t length)
{
	size_t half = length / 2 & ~(page_size() - 1);

	if (length < 2 * RDM_MOVED_BYTES) {
		rdm_pages_copy(to, from, length);
		return;
	}
	if (!move_whole(to, from, half))
		move_pieces(to, from, half);
	if (!move_whole(to + half, from + half, length - half))
		move_pieces(to + half, from + half, length - half);
}

/* Before Linux 5.7 the flag is EINVAL. */
bool rdm_pages_move(void *to, void *from, size_t length)
{
	rdm_assert(to != from);
	if (length < RDM_MOVED_BYTES)
		return false;
	if (move_whole(to, from, length))
		return true;
	if (errno == EINVAL)
		return false;
	move_pieces(to, from, length);
	return true;
}
