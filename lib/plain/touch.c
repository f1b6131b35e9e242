/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/touch.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/ablate.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/page.h"
#include "memory/reserve.h"
#include "plain/present.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Pages that are asked about at a time. */
#define AT_ONCE 64

/*
 * A write that the kernel makes for us: adds nothing, and fails with EFAULT where one of ours would
 * be a SIGSEGV.
 */
static void write_page(void *page)
{
	static uint32_t nobody;

	syscall(SYS_futex, &nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, (void *)0, page,
		FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 0));
}

/* A read, likewise: it waits for no time, if at all. */
static void read_page(void *page)
{
	static const struct timespec none;

	syscall(SYS_futex, page, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, &none, NULL, 0);
}

static void populate(char *start, size_t length, int advice, void (*each)(void *page))
{
	size_t page = rdm_page_size();

	if (!rdm_kernel_advise(start, length, advice) || errno != EINVAL)
		return;
	/* Of no bytes it is an error only where the kernel does not know it: a device's memory stays. */
	if (!rdm_kernel_advise(start, 0, advice))
		return;
	for (size_t i = 0; i < length; i += page)
		each(start + i);
}

static void write_pages(char *start, size_t length)
{
	populate(start, length, MADV_POPULATE_WRITE, write_page);
}

static void read_pages(char *start, size_t length)
{
	populate(start, length, MADV_POPULATE_READ, read_page);
}

static void for_runs(char *start, const enum rdm_page *page, size_t pages, enum rdm_page which,
		     void (*call)(char *start, size_t length))
{
	size_t end;

	for (size_t i = 0; i < pages; i = end) {
		end = i + 1;
		if (page[i] != which)
			continue;
		while (end < pages && page[end] == which)
			end++;
		call(start + (i << rdm_page_shift()), (end - i) << rdm_page_shift());
	}
}

/* What a page is, is known when it is there: one that is not is read, as a registration does, too. */
static void touch_some(int pagemap, char *start, size_t pages)
{
	enum rdm_page page[AT_ONCE], now[AT_ONCE];

	rdm_assert(pages <= AT_ONCE);
	if (!rdm_present_kinds(pagemap, start, pages, page))
		return;
	for_runs(start, page, pages, RDM_PAGE_OWN, write_pages);
	for_runs(start, page, pages, RDM_PAGE_ABSENT, read_pages);
	if (rdm_present_kinds(pagemap, start, pages, now)) {
		for (size_t i = 0; i < pages; i++)
			if (page[i] != RDM_PAGE_ABSENT)
				now[i] = RDM_PAGE_OTHER;
		for_runs(start, now, pages, RDM_PAGE_OWN, write_pages);
	}
}

static void touch_others(char *start, size_t length)
{
	size_t pages = length >> rdm_page_shift(), n;
	int pagemap = rdm_present_open();

	for (; pages; pages -= n, start += n << rdm_page_shift()) {
		n = pages < AT_ONCE ? pages : AT_ONCE;
		touch_some(pagemap, start, n);
	}
	rdm_present_close(pagemap);
}

void rdm_touch(void *addr, size_t length)
{
	size_t page = rdm_page_size();
	char *start = rdm_page_start(addr);
	const char *end = (char *)addr + length;
	int saved = errno;

	rdm_assert(addr || !length);
	/* Nobody can pin more than there is: do not look for it page by page. */
	if (rdm_ablated(RDM_ABLATE_WRITE) || length / page > (size_t)sysconf(_SC_PHYS_PAGES))
		return;
	length = rdm_page_up((size_t)(end - start));
	if (!length)
		return;
	/* The reserve has nothing else. */
	if (rdm_reserve_has(start) && rdm_reserve_has(start + length - 1))
		write_pages(start, length);
	else
		touch_others(start, length);
	errno = saved;
}
