/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/meta.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <jemalloc/jemalloc.h>

#include "base/kernel.h"
#include "memory/locked.h"
#include "sync/gate.h"
#include "sync/late.h"

/* What jemalloc maps of its tables, sparsely used, is never shorter. */
#define SPARSE ((size_t)1 << 20)
#define MAPS_MAX 64

static struct rdm_meta_range maps[MAPS_MAX];
static _Atomic unsigned mapped;

size_t rdm_meta_maps(struct rdm_meta_range out[], size_t count)
{
	size_t known = atomic_load(&mapped), n;

	for (n = 0; n < count && n < known && n < MAPS_MAX; n++)
		out[n] = maps[n];
	return n;
}

/*
 * What jemalloc maps first is a page to find out what madvise() does, to which it writes even
 * where it has got none. It unmaps it then.
 */
static _Alignas(65536) char first_page[65536];
static _Atomic bool has_begun;

/* Called where jemalloc calls mmap() (scripts/build-jemalloc). */
void *rdm_meta_map(void *addr, size_t length, int protection, int flags, int fd, off_t offset)
{
	bool waits = rdm_locked_future() && protection != PROT_NONE;
	void *map = (void *)syscall(SYS_mmap, addr, length, waits ? PROT_NONE : protection, flags,
				    fd, offset);
	int saved = errno;

	if (!atomic_exchange(&has_begun, true) && map == MAP_FAILED && length <= sizeof(first_page))
		return first_page;
	if (map == MAP_FAILED)
		return map;
	if (waits) {
		rdm_locked_on_fault(map, length);
		if (syscall(SYS_mprotect, map, length, protection)) {
			saved = errno;
			rdm_kernel_unmap(map, length);
			errno = saved;
			return MAP_FAILED;
		}
	}
	if (length >= SPARSE) {
		unsigned i = atomic_fetch_add(&mapped, 1);

		/* With huge pages each touch would be 2 MiB. EINVAL: there are none. */
		rdm_kernel_advise(map, length, MADV_NOHUGEPAGE);
		if (i < MAPS_MAX)
			maps[i] = (struct rdm_meta_range){ .addr = map, .length = length };
	}
	errno = saved;
	return map;
}

void *rdm_meta_alloc(size_t size)
{
	void *p;

	if (!rdm_gate_enter())
		return NULL;
	p = rdm_je_calloc(1, size);
	rdm_gate_leave();
	return p;
}

void *rdm_meta_alloc_aligned(size_t size, size_t align)
{
	void *p;

	if (!rdm_gate_enter())
		return NULL;
	p = rdm_je_mallocx(size, MALLOCX_ALIGN(align) | MALLOCX_ZERO);
	rdm_gate_leave();
	return p;
}

void rdm_meta_free(void *p)
{
	if (!p)
		return;
	if (!rdm_gate_try()) {
		rdm_late_put(p, RDM_LATE_RECORD, 0);
		return;
	}
	rdm_je_free(p);
	rdm_gate_leave();
}
