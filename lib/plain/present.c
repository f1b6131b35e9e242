/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/present.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"
#include "base/sandbox.h"
#include "memory/state.h"

/* 512 bytes: whoever forks may have a small stack. */
#define AT_ONCE 64
/* Of a line in status that is looked for. */
#define LINE_BYTES ((size_t)64)
/* Of an entry in pagemap: present, swapped out. */
#define THERE (UINT64_C(3) << 62)

int rdm_present_open(void)
{
	if (rdm_sandbox_is_entered())
		return -1;
	return (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

void rdm_present_close(int fd)
{
	if (fd >= 0)
		syscall(SYS_close, fd);
}

size_t rdm_present_run(int fd, const char *from, const char *end, bool *present)
{
	unsigned shift = rdm_state.page_shift;
	uintptr_t page = (uintptr_t)from >> shift;
	size_t pages = (((uintptr_t)end - 1) >> shift) - page + 1;
	uint64_t entry[AT_ONCE];
	size_t run = 1, length;
	ssize_t got;

	rdm_assert(from < end);
	rdm_assert(present);
	if (pages > AT_ONCE)
		pages = AT_ONCE;
	got = fd < 0 ? -1 :
		       syscall(SYS_pread64, fd, entry, pages * sizeof(*entry),
			       (off_t)(page * sizeof(*entry)));
	*present = true;
	if (got < (ssize_t)sizeof(*entry))
		return (size_t)(end - from);
	pages = (size_t)got / sizeof(*entry);
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
	if (n < 0 || bytes >> rdm_state.page_shift > RDM_PRESENT_FEW)
		return -1;
	for (long i = 0; i < n; i++)
		runs[i] = (struct rdm_present){
			.addr = from + (region[i].start - (uintptr_t)from),
			.length = region[i].end - region[i].start,
		};
	return (int)n;
}

size_t rdm_present_pinned(void)
{
	static const char name[] = "\nVmPin:";
	/* Not all at once, on whatever stack: the line may be anywhere, and cut in two. */
	char text[512];
	const char *line = NULL;
	size_t kept = 0;
	int saved = errno;
	int fd = rdm_sandbox_is_entered() ? -1 :
					    (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/status",
							 O_RDONLY | O_CLOEXEC);
	ssize_t got = 0;

	while (!line && fd >= 0 &&
	       (got = syscall(SYS_read, fd, text + kept, sizeof(text) - 1 - kept)) > 0) {
		kept += (size_t)got;
		text[kept] = '\0';
		line = strstr(text, name);
		if (line && strchr(line + 1, '\n'))
			break;
		line = NULL;
		if (kept > LINE_BYTES) {
			memmove(text, text + kept - LINE_BYTES, LINE_BYTES);
			kept = LINE_BYTES;
		}
	}
	rdm_present_close(fd);
	errno = saved;
	return line ? strtoul(line + sizeof(name) - 1, NULL, 10) * 1024 >> rdm_state.page_shift : 0;
}
