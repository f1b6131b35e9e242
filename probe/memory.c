/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"
#include "traits.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/*
 * glibc maps a request of more than 32 MiB afresh, whatever was freed before,
 * and in the middle of it no huge page of the block's first bytes reaches in.
 */
#define SLACK ((size_t)48 << 20)

const struct probe_memory probe_malloc = PROBE_MALLOC("malloc", 0);
const struct probe_memory probe_malloc_dontfork =
	PROBE_MALLOC("malloc, DONTFORK", PROBE_CARE_DONTFORK);
const struct probe_memory probe_malloc_read = PROBE_MALLOC("malloc, read", PROBE_CARE_READ);
const struct probe_memory probe_malloc_written = PROBE_MALLOC("malloc, written", PROBE_CARE_WRITE);
const struct probe_memory probe_malloc_recipe =
	PROBE_MALLOC("malloc, DONTFORK, written", PROBE_CARE_DONTFORK | PROBE_CARE_WRITE);

static bool touched(const struct probe_buffer *buffer)
{
	size_t pages = buffer->length / probe_page();
	unsigned char *present = malloc(pages);
	bool any = !present || mincore(buffer->addr, buffer->length, present);

	for (size_t i = 0; !any && i < pages; i++)
		any = present[i] & 1;
	free(present);
	return any;
}

int probe_userfaultfd(void)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	/* Kernels before Linux 5.11 do not know the flag. */
	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	return fd;
}

/* The kernel itself puts the shared zero page there. 0 or a positive errno value. */
static int map_zero_page(const struct probe_buffer *buffer, size_t length)
{
	struct uffdio_range range = { .start = (uintptr_t)buffer->addr, .len = length };
	struct uffdio_register all = { .range = range, .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_zeropage zeros = { .range = range };
	struct uffdio_api api = { .api = UFFD_API };
	int fd = probe_userfaultfd();
	int error = 0;

	if (fd < 0)
		return errno;
	if (ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &all) ||
	    ioctl(fd, UFFDIO_ZEROPAGE, &zeros))
		error = errno;
	close(fd);
	return error;
}

/* What the switch for tests says of memory that nobody will have written. */
static int obey_switch(uintptr_t care, const struct probe_buffer *buffer)
{
	size_t length = buffer->extent ? buffer->extent : buffer->length;
	const char *word = getenv("RDM_PROBE_ZERO_PAGE");

	/* hugetlb knows no zero page. */
	if (!word || !*word || care & (PROBE_CARE_WRITE | PROBE_CARE_HUGETLB))
		return 0;
	if (!strcmp(word, "shared"))
		return map_zero_page(buffer, length);
	if (strcmp(word, "private") != 0) {
		fprintf(stderr, "RDM_PROBE_ZERO_PAGE: private or shared, not '%s'\n", word);
		return EINVAL;
	}
	memset(buffer->addr, 0, length);
	return 0;
}

int probe_take_care(void *context, struct probe_buffer *buffer)
{
	uintptr_t care = (uintptr_t)context;
	static const struct {
		enum probe_care care;
		int advice;
	} advices[] = {
		{ PROBE_CARE_THP, MADV_HUGEPAGE },
		{ PROBE_CARE_NO_THP, MADV_NOHUGEPAGE },
		{ PROBE_CARE_DONTFORK, MADV_DONTFORK },
	};

	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if (!(care & advices[i].care) ||
		    !madvise(buffer->addr, buffer->extent, advices[i].advice))
			continue;
		/* A kernel without THP has nothing to turn off. */
		if (advices[i].care != PROBE_CARE_NO_THP)
			return errno == EINVAL ? EOPNOTSUPP : errno;
	}
	for (size_t at = 0; care & PROBE_CARE_READ && at < buffer->length; at += probe_page())
		(void)*(volatile unsigned char *)(buffer->addr + at);
	if (care & PROBE_CARE_WRITE)
		probe_fill(buffer->addr, buffer->extent, probe_next_seed());
	return 0;
}

int probe_malloc_get(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	uintptr_t care = (uintptr_t)context;
	size_t align = care & PROBE_CARE_THP ? PROBE_HUGE : probe_page();
	int error = EADDRINUSE;
	uintptr_t middle;

	(void)device;
	if (buffer->length > SIZE_MAX - SLACK)
		return ENOMEM;
	buffer->owner = malloc(buffer->length + SLACK);
	if (!buffer->owner)
		return ENOMEM;
	middle = (uintptr_t)buffer->owner + SLACK / 2;
	buffer->addr = (unsigned char *)((middle + align - 1) & ~(align - 1));
	/* A malloc may leave pages with a block that was freed. */
	if (!touched(buffer) ||
	    (!madvise(buffer->addr, buffer->length, MADV_DONTNEED) && !touched(buffer)))
		error = obey_switch(care, buffer);
	if (error)
		probe_malloc_put(context, buffer);
	return error;
}

void probe_malloc_put(void *context, struct probe_buffer *buffer)
{
	/* The next owner of these pages must not find them missing in a child. */
	if ((uintptr_t)context & PROBE_CARE_DONTFORK)
		madvise(buffer->addr, buffer->length, MADV_DOFORK);
	free(buffer->owner);
}

int probe_map_get(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	uintptr_t care = (uintptr_t)context;
	bool hugetlb = care & PROBE_CARE_HUGETLB;
	bool huge = care & (PROBE_CARE_HUGETLB | PROBE_CARE_THP);
	/* Huge pages begin where their size says; one that is of the kernel's making needs room. */
	size_t slack = huge && !hugetlb ? PROBE_HUGE : 0;
	uintptr_t start;
	int error;

	(void)device;
	buffer->extent = huge ? PROBE_HUGE : buffer->length;
	buffer->owner = mmap(NULL, buffer->extent + slack, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS |
				     (hugetlb ? MAP_HUGETLB | 21 << MAP_HUGE_SHIFT : 0),
			     -1, 0);
	if (buffer->owner == MAP_FAILED)
		return errno;
	start = (uintptr_t)buffer->owner;
	if (slack)
		start = (start + PROBE_HUGE - 1) & ~(uintptr_t)(PROBE_HUGE - 1);
	buffer->addr = (unsigned char *)start;
	/* Before anybody touches it. A kernel without THP has nothing to turn off. */
	if (slack && madvise(buffer->addr, buffer->extent, MADV_HUGEPAGE))
		return probe_map_put(context, buffer), EOPNOTSUPP;
	if (!huge)
		madvise(buffer->addr, buffer->extent, MADV_NOHUGEPAGE);
	error = obey_switch(care, buffer);
	if (error)
		probe_map_put(context, buffer);
	return error;
}

void probe_map_put(void *context, struct probe_buffer *buffer)
{
	bool thp = (uintptr_t)context & PROBE_CARE_THP;

	munmap(buffer->owner, buffer->extent + (thp ? PROBE_HUGE : 0));
}
