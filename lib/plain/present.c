/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/present.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/page.h"
#include "plain/vmpin.h"

#define AT_ONCE 128
/* Of an entry in pagemap: present, swapped out. */
#define THERE (UINT64_C(3) << 62)
/* A page of a file or of shared memory. */
#define OF_FILE (UINT64_C(1) << 61)

int rdm_present_open(void)
{
	/* In a sandbox it would end the process. */
	if (rdm_vmpin_is_closed())
		return -1;
	return (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

void rdm_present_close(int fd)
{
	if (fd >= 0)
		syscall(SYS_close, fd);
}

/* How many entries were read. */
static size_t read_entries(int fd, uintptr_t page, uint64_t entry[], size_t pages)
{
	ssize_t got = fd < 0 ? -1 :
			       syscall(SYS_pread64, fd, entry, pages * sizeof(*entry),
				       (off_t)(page * sizeof(*entry)));

	return got < 0 ? 0 : (size_t)got / sizeof(*entry);
}

bool rdm_present_kinds(int fd, const char *from, size_t pages, enum rdm_page kind[])
{
	uint64_t entry[AT_ONCE];

	rdm_assert(pages <= AT_ONCE);
	if (read_entries(fd, (uintptr_t)from >> rdm_page_shift(), entry, pages) != pages)
		return false;
	for (size_t i = 0; i < pages; i++)
		kind[i] = !(entry[i] & THERE)  ? RDM_PAGE_ABSENT :
			  (entry[i] & OF_FILE) ? RDM_PAGE_OTHER :
						 RDM_PAGE_OWN;
	return true;
}

size_t rdm_present_run(int fd, const char *from, const char *end, bool *present)
{
	unsigned shift = rdm_page_shift();
	uintptr_t page = (uintptr_t)from >> shift;
	size_t pages = (((uintptr_t)end - 1) >> shift) - page + 1;
	uint64_t entry[AT_ONCE];
	size_t run = 1, length;

	rdm_assert(from < end);
	rdm_assert(present);
	if (pages > AT_ONCE)
		pages = AT_ONCE;
	pages = read_entries(fd, page, entry, pages);
	*present = true;
	if (!pages)
		return (size_t)(end - from);
	*present = entry[0] & THERE;
	while (run < pages && !!(entry[run] & THERE) == *present)
		run++;
	length = ((page + run) << shift) - (uintptr_t)from;
	return length < (size_t)(end - from) ? length : (size_t)(end - from);
}

/* Linux 6.7's, which older headers lack: linux/fs.h. */
#define SCAN _IOWR('f', 16, struct scan)
#define SCAN_THERE (UINT64_C(1) << 3 | UINT64_C(1) << 4)
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, all_of, any_of, report;
};
struct scan_region {
	uint64_t start, end, categories;
};

int rdm_present_few(char *from, size_t length, struct rdm_present runs[RDM_PRESENT_FEW])
{
	struct scan_region region[RDM_PRESENT_FEW + 1];
	struct scan scan = {
		.size = sizeof(scan),
		.start = (uintptr_t)from,
		.end = (uintptr_t)from + length,
		.vec = (uintptr_t)region,
		.vec_len = RDM_PRESENT_FEW + 1,
		.max_pages = RDM_PRESENT_FEW + 1,
		.any_of = SCAN_THERE,
		.report = SCAN_THERE,
	};
	int saved = errno, fd = rdm_present_open();
	long n = fd < 0 ? -1 : syscall(SYS_ioctl, fd, SCAN, &scan);
	uint64_t bytes = 0;

	rdm_assert(length && runs);
	rdm_present_close(fd);
	errno = saved;
	for (long i = 0; i < n; i++)
		bytes += region[i].end - region[i].start;
	if (n < 0 || bytes >> rdm_page_shift() > RDM_PRESENT_FEW)
		return -1;
	for (long i = 0; i < n; i++)
		runs[i] = (struct rdm_present){
			.addr = from + (region[i].start - (uintptr_t)from),
			.length = region[i].end - region[i].start,
		};
	return (int)n;
}
