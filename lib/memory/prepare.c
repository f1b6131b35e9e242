/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "memory/prepare.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef HAVE_NUMA
#include <numa.h>
#include <numaif.h>
#endif

#include "base/ablate.h"
#include "base/blame.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "memory/reserve.h"
#include "sync/quiesce.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1U
#endif
#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68
#endif
#define HUGETLB_2M (21 << MAP_HUGE_SHIFT)
#define HUGETLB_1G (30 << MAP_HUGE_SHIFT)
#define HUGETLB_COUNT(kilobytes) "/sys/kernel/mm/hugepages/hugepages-" kilobytes "kB/nr_hugepages"

static size_t base_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

size_t rdm_prepare_page_size(const struct rdm_memory_kind *kind)
{
	if (kind->backing == RDM_BACKING_HUGETLB)
		return kind->pages == RDM_PAGES_1G ? (size_t)1 << 30 : (size_t)1 << 21;
	return base_page();
}

static int check_hugetlb(const struct rdm_memory_kind *kind)
{
	size_t page = rdm_prepare_page_size(kind);
	char path[80];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%zukB", page >> 10);
	if (!access(path, F_OK))
		return 0;
	rdm_log(RDM_LOG_ERROR, "this kernel has no huge pages of %zu kB (%s): use backing anon",
		page >> 10, path);
	return ENOTSUP;
}

static int check_thp(void)
{
	if (!access("/sys/kernel/mm/transparent_hugepage", F_OK))
		return 0;
	rdm_log(RDM_LOG_ERROR, "this kernel has no transparent huge pages: use pages best or base");
	return ENOTSUP;
}

static int check_node(int node)
{
	rdm_assert(node >= 0);
#ifdef HAVE_NUMA
	if (numa_available() >= 0 && node <= numa_max_node() &&
	    numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node))
		return 0;
	rdm_log(RDM_LOG_ERROR, "there is no NUMA node %d with memory here: see numactl -H", node);
	return ENOTSUP;
#else
	rdm_log(RDM_LOG_ERROR, "NUMA node %d: this rdmalloc was built --without-numa", node);
	return ENOTSUP;
#endif
}

int rdm_prepare_check(const struct rdm_memory_kind *kind)
{
	int error = 0;

	rdm_assert(kind->backing != RDM_BACKING_DEFAULT);
	rdm_assert(kind->pages != RDM_PAGES_DEFAULT);
	rdm_assert(kind->node >= -1);
	if (kind->backing == RDM_BACKING_HUGETLB)
		error = check_hugetlb(kind);
	else if (kind->pages == RDM_PAGES_THP)
		error = check_thp();
	if (!error && kind->node >= 0)
		error = check_node(kind->node);
	return error;
}

static int map_anon(void *addr, size_t length, enum rdm_log_level level)
{
	int error;

	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	if (!mprotect(addr, length, PROT_READ | PROT_WRITE))
		return 0;
	error = errno;
	rdm_blame(level,
		  &(struct rdm_failure){ error, RDM_WANT_MEMORY | RDM_WANT_MAPPINGS, length, NULL },
		  "no memory for a slab of %zu MiB", length >> 20);
	return error;
}

/* A MAP_FIXED that failed may have unmapped what was there: 0, or EADDRINUSE. */
static int mend_reserve(void *addr, size_t length)
{
	void *got = mmap(addr, length, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == addr)
		return 0;
	if (got != MAP_FAILED)
		munmap(got, length);
	return EADDRINUSE;
}

static int map_hugetlb(void *addr, size_t length, const struct rdm_memory_kind *kind,
		       enum rdm_log_level level)
{
	bool huge = kind->pages == RDM_PAGES_1G;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (huge ? HUGETLB_1G : HUGETLB_2M);
	/* Elsewhere first, so that a failure leaves the reserve as it is. Without
	 * NORESERVE: too few pages is an error here, not SIGBUS later. */
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (memory == MAP_FAILED) {
		int error = errno;

		rdm_blame(level,
			  &(struct rdm_failure){ error, RDM_WANT_ADDRESSES | RDM_WANT_MAPPINGS,
						 length,
						 huge ? "raise " HUGETLB_COUNT("1048576") :
							"raise " HUGETLB_COUNT("2048") },
			  "no hugetlb pages for a slab of %zu MiB", length >> 20);
		return error;
	}
	if (rdm_kernel_move(memory, addr, length, 0))
		return 0;
	/* Before 5.16 hugetlb memory cannot be moved. */
	munmap(memory, length);
	if (mmap(addr, length, PROT_READ | PROT_WRITE, flags | MAP_FIXED, -1, 0) == addr)
		return 0;
	rdm_log(level, "no hugetlb pages for a slab of %zu MiB: somebody was faster", length >> 20);
	return mend_reserve(addr, length) ? EADDRINUSE : ENOMEM;
}

/* The descriptor is closed at once: the child must not inherit it, and nobody can close it for us. */
static int map_shared(void *addr, size_t length, enum rdm_log_level level)
{
	struct rlimit limit;
	int fd, error = 0;

	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	/* Past this limit ftruncate() raises SIGXFSZ. */
	if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur < length) {
		rdm_log(level,
			"RLIMIT_FSIZE is %llu, a shared slab needs %zu bytes: raise it (ulimit -f)",
			(unsigned long long)limit.rlim_cur, length);
		return EFBIG;
	}
	fd = memfd_create("rdmalloc", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)length) ||
	    mmap(addr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED) {
		error = errno;
		rdm_blame(level, &(struct rdm_failure){ error, RDM_WANT_MAPPINGS, length, NULL },
			  "no shared memory for a slab of %zu MiB", length >> 20);
	}
	if (fd >= 0)
		close(fd);
	return error;
}

static void advise_pages(void *addr, size_t length, const struct rdm_memory_kind *kind)
{
	if (kind->backing == RDM_BACKING_HUGETLB)
		return;
	/* EINVAL: a kernel without THP, where base pages are the best there is. */
	if (madvise(addr, length,
		    kind->pages == RDM_PAGES_BASE ? MADV_NOHUGEPAGE : MADV_HUGEPAGE) &&
	    errno != EINVAL)
		rdm_log(RDM_LOG_WARN, "madvise(huge pages) on a slab: %s", strerror(errno));
}

static int bind_node(void *addr, size_t length, int node)
{
	rdm_assert(node >= -1);
#ifdef HAVE_NUMA
	struct bitmask *nodes;
	long result;

	if (node < 0)
		return 0;
	nodes = numa_allocate_nodemask();
	numa_bitmask_setbit(nodes, (unsigned)node);
	result = mbind(addr, length, MPOL_BIND, nodes->maskp, nodes->size + 1, MPOL_MF_MOVE);
	numa_free_nodemask(nodes);
	if (!result)
		return 0;
	rdm_log(RDM_LOG_ERROR, "cannot bind a slab to NUMA node %d: %s", node, strerror(errno));
	return errno;
#else
	(void)addr;
	(void)length;
	return node < 0 ? 0 : ENOTSUP;
#endif
}

/* A constant 0 would let the compiler turn the addition into a plain load. */
__attribute__((noinline)) void rdm_prepare_dirty(void *addr, size_t length)
{
	size_t page = base_page();
	uint8_t nothing = 0;

	rdm_assert(!((uintptr_t)addr & (base_page() - 1)));
	if (rdm_ablated(RDM_ABLATE_WRITE))
		return;
	__asm__("" : "+r"(nothing));
	/* Not at the same place in each page: those would compete for one set of the cache. */
	for (size_t i = 0; i < length; i += page)
		__atomic_fetch_add((uint8_t *)addr + i + (i / page * 64 & (page - 1)), nothing,
				   __ATOMIC_RELAXED);
}

/* 0, ENOMEM, or EINVAL before Linux 5.14: then nothing is populated. */
static int populate(void *addr, size_t length)
{
	if (rdm_ablated(RDM_ABLATE_WRITE) || !madvise(addr, length, MADV_POPULATE_WRITE))
		return 0;
	return errno == EINVAL ? EINVAL : ENOMEM;
}

int rdm_prepare_populate(void *addr, size_t length, bool write)
{
	int error = populate(addr, length);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (base_page() - 1)));
	rdm_assert(length);
	if (error == ENOMEM)
		return error;
	if (error || write)
		rdm_prepare_dirty(addr, length);
	return 0;
}

void rdm_prepare_no_memory(size_t length)
{
	rdm_log(RDM_LOG_ERROR,
		"no memory to populate a slab of %zu MiB: see the limits of the cgroup and of NUMA "
		"nodes",
		length >> 20);
}

int rdm_prepare_dontfork(void *addr, size_t length)
{
	rdm_assert(!((uintptr_t)addr & (base_page() - 1)));
	rdm_assert(length);
	if (rdm_ablated(RDM_ABLATE_DONTFORK) || !madvise(addr, length, MADV_DONTFORK))
		return 0;
	rdm_log(RDM_LOG_ERROR, "madvise(MADV_DONTFORK) on %zu bytes at %p: %s", length, addr,
		strerror(errno));
	return errno;
}

void rdm_prepare_unmerge(void *addr, size_t length)
{
	rdm_assert(!((uintptr_t)addr & (base_page() - 1)));
	rdm_assert(length);
	/* EINVAL: a kernel without KSM. */
	if (madvise(addr, length, MADV_UNMERGEABLE) && errno != EINVAL)
		rdm_log(RDM_LOG_WARN, "madvise(MADV_UNMERGEABLE) on %zu bytes at %p: %s", length,
			addr, strerror(errno));
}

void rdm_prepare_unmerge_new(void *addr, size_t length)
{
	if (prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) > 0)
		rdm_prepare_unmerge(addr, length);
}

/* All that comes before the write. */
static int protect(void *addr, size_t length, const struct rdm_memory_kind *kind)
{
	int error = rdm_prepare_dontfork(addr, length);

	if (error)
		return error;
	rdm_prepare_unmerge(addr, length);
	advise_pages(addr, length, kind);
	return bind_node(addr, length, kind->node);
}

/* A memfd for each slab, so that each can give its memory back. */
static int map_shared_slabs(char *addr, size_t length, size_t slab, enum rdm_log_level level)
{
	int error = 0;

	for (size_t i = 0; !error && i < length; i += slab)
		error = map_shared(addr + i, slab, level);
	return error;
}

int rdm_prepare_map(void *addr, size_t length, size_t slab, const struct rdm_memory_kind *kind,
		    enum rdm_log_level level)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	rdm_assert(slab && !(length % slab));
	switch (kind->backing) {
	case RDM_BACKING_HUGETLB:
		error = map_hugetlb(addr, length, kind, level);
		break;
	case RDM_BACKING_SHARED:
		error = map_shared_slabs(addr, length, slab, level);
		break;
	default:
		error = map_anon(addr, length, level);
		break;
	}
	return error ? error : protect(addr, length, kind);
}

int rdm_prepare_again(void *addr, size_t length, const struct rdm_memory_kind *kind)
{
	int error = map_anon(addr, length, RDM_LOG_ERROR);

	rdm_assert(rdm_quiesce_is_held());
	rdm_assert(!((uintptr_t)addr & (RDM_GRANULE - 1)));
	rdm_assert(length && !(length & (RDM_GRANULE - 1)));
	if (!error)
		error = protect(addr, length, kind);
	if (!error && populate(addr, length) == ENOMEM) {
		rdm_prepare_no_memory(length);
		error = ENOMEM;
	}
	if (!error)
		rdm_prepare_dirty(addr, length);
	/* It goes on as memory that this process's children inherit. */
	if (error && madvise(addr, length, MADV_DOFORK))
		rdm_log(RDM_LOG_ERROR, "madvise(MADV_DOFORK): %s", strerror(errno));
	return error;
}
