/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "internal.h"

/*
 * glibc maps a request of more than 32 MiB afresh, whatever was freed before,
 * and in the middle of it no huge page of the block's first bytes reaches in.
 */
#define SLACK ((size_t)48 << 20)
#define THP_ALIGN ((size_t)2 << 20)

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

static int take_care(const struct probe_buffer *buffer, uintptr_t care)
{
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
		    !madvise(buffer->addr, buffer->length, advices[i].advice))
			continue;
		/* A kernel without THP has nothing to turn off. */
		if (advices[i].care != PROBE_CARE_NO_THP)
			return errno == EINVAL ? EOPNOTSUPP : errno;
	}
	for (size_t at = 0; care & PROBE_CARE_READ && at < buffer->length; at += probe_page())
		(void)*(volatile unsigned char *)(buffer->addr + at);
	if (care & PROBE_CARE_WRITE)
		probe_fill(buffer->addr, buffer->length, probe_next_seed());
	return 0;
}

int probe_malloc_get(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	uintptr_t care = (uintptr_t)context;
	size_t align = care & PROBE_CARE_THP ? THP_ALIGN : probe_page();
	uintptr_t middle;
	int error;

	(void)device;
	if (buffer->length > SIZE_MAX - SLACK)
		return ENOMEM;
	buffer->owner = malloc(buffer->length + SLACK);
	if (!buffer->owner)
		return ENOMEM;
	middle = (uintptr_t)buffer->owner + SLACK / 2;
	buffer->addr = (unsigned char *)((middle + align - 1) & ~(align - 1));
	error = touched(buffer) ? EADDRINUSE : take_care(buffer, care);
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
