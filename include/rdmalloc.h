/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDMALLOC_H
#define RDMALLOC_H

/*
 * rdmalloc: registered buffers that stay correct across fork().
 *
 * A pool hands out blocks from slabs: memory that is MADV_DONTFORK, written
 * before it is pinned, and registered with every rail of the pool (a verbs
 * protection domain, an io_uring instance, or callbacks of the caller's).
 *
 * Unless a function says otherwise: it may be called from any thread, not from
 * a signal handler; pointers are failed with NULL, integers with -1, errno says
 * why and one line on stderr says what to do about it. The look-ups (rdm_key,
 * rdm_usable_size, rdm_pool_of, rdm_sge, rdm_regions_*) only set errno. Called
 * by a registrar while it registers, every function whose name begins with
 * rdm_pool_ or rdm_regions_export, and an allocation that needs a new slab,
 * fails with EDEADLK.
 *
 * After fork() a pool is *inherited* in the child: its blocks hold what the
 * pool's fork policy says, they can be read and freed, and no block can be
 * allocated (errno ECHILD) until rdm_pool_reset() or rdm_pool_add_*().
 * vfork(), posix_spawn(), system() and popen() copy no memory and run none of
 * this. _Fork() and a raw clone() run no fork handlers: their child sees holes.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RDM_ATTR(list) __attribute__(list)
#else
#define RDM_ATTR(list)
#endif
#define RDM_API RDM_ATTR((visibility("default")))

#define RDM_VERSION_MAJOR 0
#define RDM_VERSION_MINOR 1
#define RDM_VERSION_PATCH 0

/* Rails that one pool can have at the same time. */
#define RDM_RAILS_MAX 8

typedef struct rdm_pool rdm_pool;

struct ibv_pd;
struct ibv_sge;
struct io_uring;

/* Where the memory of a pool's slabs comes from. */
enum rdm_backing {
	RDM_BACKING_DEFAULT, /* what RDMALLOC_CONF says, else anon */
	RDM_BACKING_ANON,    /* private anonymous memory */
	RDM_BACKING_HUGETLB, /* private memory from the hugetlb pool */
	RDM_BACKING_SHARED,  /* a memfd: copy-on-write never applies to it */
};

/* Size of the pages behind a slab. */
enum rdm_pages {
	RDM_PAGES_DEFAULT, /* what RDMALLOC_CONF says, else best */
	RDM_PAGES_BEST,    /* anon, shared: THP where enabled; hugetlb: 2M */
	RDM_PAGES_BASE,    /* the kernel's base pages, never THP */
	RDM_PAGES_THP,     /* ask for transparent huge pages */
	RDM_PAGES_2M,      /* hugetlb pages of 2 MiB */
	RDM_PAGES_1G,      /* hugetlb pages of 1 GiB; slabs are multiples of it */
};

/* What a child finds at the addresses of a pool's blocks after fork(). */
enum rdm_fork_policy {
	RDM_FORK_DEFAULT, /* what RDMALLOC_CONF says, else hole */
	RDM_FORK_HOLE,    /* nothing: a touch is SIGSEGV */
	RDM_FORK_ZERO,    /* zeros, in private memory of the child's own */
	RDM_FORK_COPY,    /* a private copy of the blocks, made in fork() */
};

/*
 * How a pool is made. Start from RDM_POOL_CONFIG_INIT and set what matters;
 * every field that is left alone takes its value from RDMALLOC_CONF or the
 * built-in default.
 */
struct rdm_pool_config {
	size_t size;      /* sizeof(struct rdm_pool_config) */
	const char *name; /* for log lines; copied, up to 31 characters */
	size_t slab_size; /* bytes, a multiple of 2 MiB; 0: default (4 MiB) */
	size_t limit;     /* bytes of slabs at most; 0: default (no limit) */
	unsigned backing; /* enum rdm_backing */
	unsigned pages;   /* enum rdm_pages */
	unsigned fork;    /* enum rdm_fork_policy */
	int node;         /* NUMA node to bind to; -1: default (any) */
	size_t watermark; /* bytes to keep free by making slabs ahead; 0: default (off) */
};
/* clang-format off */
#ifdef __cplusplus
/* Before C++20 fields have no names here. */
#define RDM_POOL_CONFIG_INIT { sizeof(struct rdm_pool_config), nullptr, 0, 0, 0, 0, 0, -1, 0 }
#else
#define RDM_POOL_CONFIG_INIT { .size = sizeof(struct rdm_pool_config), .node = -1 }
#endif
/* clang-format on */

/* One registration of a slab with one rail. */
struct rdm_mr {
	uint32_t lkey; /* io_uring: the index of the fixed buffer */
	uint32_t rkey;
	void *handle; /* the registrar's own, e.g. a struct ibv_mr */
};

/*
 * A rail of the caller's: how libfabric, UCX or a GPU library plugs in.
 * Both callbacks return 0 or a positive errno value (a negative one counts as
 * EIO). Those of one context are called by one thread at a time, those of
 * rails with other contexts may be called meanwhile, and none while fork() runs.
 * Where a pool has several rails or a watermark the thread may be one of the
 * library's own, with all signals blocked and, for a watermark, a stack of
 * 256 KiB. A dereg that failed is called again by later trims. They may call
 * malloc and free; they must not fork.
 */
struct rdm_registrar {
	size_t size;      /* sizeof(struct rdm_registrar) */
	const char *name; /* for log lines; must outlive the rail */
	size_t max_len;   /* longest registration, bytes; 0: any */
	int (*reg)(void *context, void *addr, size_t length, struct rdm_mr *mr);
	int (*dereg)(void *context, const struct rdm_mr *mr);
};

/* What rdm_key() says of a pointer on one rail. */
struct rdm_key {
	uint32_t lkey;
	uint32_t rkey;
	void *handle;  /* the registrar's handle of the registration that covers the pointer */
	void *base;    /* where that starts */
	size_t length; /* and its length in bytes */
};

/*
 * What rdm_pool_audit() found, in base pages. A page can be counted in more
 * than one line; violations is their sum, 0 for a pool that is fit for RDMA.
 */
struct rdm_audit {
	size_t size;          /* sizeof(struct rdm_audit), set by the caller */
	size_t pages;         /* looked at */
	size_t inheritable;   /* I1: not MADV_DONTFORK */
	size_t mergeable;     /* I2: KSM may merge them */
	size_t absent;        /* I2, I5: not in memory */
	size_t not_exclusive; /* I2: shared with somebody, or the zero page */
	size_t not_writable;  /* I5: mapped without write permission */
	size_t unregistered;  /* I4: in a slab without a key for some rail */
	size_t violations;
};

/* What a pool holds. Bytes unless the name says otherwise. */
struct rdm_stats {
	size_t size;            /* sizeof(struct rdm_stats), set by the caller */
	size_t slabs;           /* number of slabs */
	size_t slab_bytes;      /* in slabs: what is pinned */
	size_t carved_bytes;    /* taken from the slabs by the arena */
	size_t live_bytes;      /* in live blocks, rounded to their size class */
	size_t live_blocks;     /* number of live blocks */
	size_t magazine_bytes;  /* in free blocks that threads keep for themselves */
	size_t depot_bytes;     /* in free blocks that any thread can have at once */
	size_t limit;           /* 0: no limit */
	size_t rails;           /* number of rails */
	size_t quarantined;     /* bytes that a rail refused to deregister */
	uint64_t registrations; /* calls of a registrar, since creation */
	uint64_t deregistrations;
	uint64_t growths;            /* slabs made since creation */
	uint64_t background_growths; /* of these, by the background thread */
	uint64_t forks;              /* fork() calls of the process so far */
	uint64_t last_fork_ns;       /* time that our handlers took in the last one */
	int inherited;               /* 1: this is the child's view of a pool */
};

/*
 * Makes a pool. config may be NULL: all defaults. Nothing is mapped but the
 * process's reserve of addresses (at the first pool).
 * errno: EINVAL (a field is out of range), ENOMEM (no memory, address space or
 * RLIMIT_AS too small; more than 4,000 pools), ENOTSUP (page size or NUMA
 * binding not available).
 */
RDM_API rdm_pool *rdm_pool_create(const struct rdm_pool_config *config)
	RDM_ATTR((warn_unused_result));

/*
 * Gives a pool back. All blocks must have been freed, and what rdm_register() got
 * deregistered; nobody may use the pool meanwhile. errno: EINVAL; EBUSY: something is live
 * and nothing was changed, or a rail refused to deregister, or vm.max_map_count is too small
 * to give the addresses back; the call can be made again.
 */
RDM_API int rdm_pool_destroy(rdm_pool *pool);

/*
 * Forgets every block of a pool, ends its registrations of the program's memory, returns its
 * slabs and removes its rails: it is as after rdm_pool_create(). Meant for the child of a fork; elsewhere no
 * block may be in use by anyone, device or thread. errno: EINVAL; EBUSY as
 * rdm_pool_destroy() when a slab cannot be let go.
 */
RDM_API int rdm_pool_reset(rdm_pool *pool);

/*
 * Adds a rail: every slab, present and future, is registered with it. Returns
 * the rail's number (0 to RDM_RAILS_MAX - 1), the argument of rdm_key().
 * access is an OR of enum ibv_access_flags; 0 is read-only for the device.
 * On-demand paging and zero-based regions are out of scope (ENOTSUP).
 * Other threads may allocate meanwhile. In the child of a fork the first rail
 * that is added takes an inherited pool into use again, contents and all (anon
 * backing only; other backings need rdm_pool_reset() first).
 * errno: EINVAL, ENOMEM, ENOSPC (RDM_RAILS_MAX), EFBIG (a slab is longer than
 * the rail can register), ENOTSUP (built without it, or the kernel has no such
 * thing; inherited and not anon), EBUSY (the ring has buffers registered), or
 * what the registrar failed with; no slab is registered with the rail then. If
 * it refuses to undo a registration the rail's number stays taken.
 */
RDM_API int rdm_pool_add_verbs(rdm_pool *pool, struct ibv_pd *pd, int access);
/*
 * The ring needs a kernel with sparse buffer tables (5.19). It must have none
 * registered yet, not be IORING_SETUP_SINGLE_ISSUER (any thread may make a
 * slab), and outlive the rail. slots is the size of its table, that is, the
 * number of slabs at most (0: 1,024; 16,384 at most).
 */
RDM_API int rdm_pool_add_uring(rdm_pool *pool, struct io_uring *ring, unsigned slots);
RDM_API int rdm_pool_add_rail(rdm_pool *pool, const struct rdm_registrar *registrar, void *context);

/*
 * Deregisters every slab from a rail; its keys are invalid from the call on.
 * No operation may be under way on it. errno: EINVAL, ENOENT (no such rail), or
 * what the registrar failed with: then the rail is still there without keys
 * for the slabs that are done, and the call can be made again. Of a verbs device
 * that was removed from the machine (EIO from every command) the registrations
 * are gone already: the call succeeds, and until it the pool cannot grow.
 */
RDM_API int rdm_pool_remove_rail(rdm_pool *pool, int rail);

/*
 * Makes sure that the pool's slabs hold at least `bytes` in all, prepared and
 * registered. Large memory is made in steps by several threads; between two
 * steps a fork() and other threads that wait have their turn.
 * errno: as rdm_malloc(); what was made until then stays.
 *
 * rdm_pool_reserve_progress also calls progress after each step, in the calling
 * thread and with no lock held: it may do anything but destroy the pool. done is
 * how much of total, that is, of `bytes`, is there; the last call says that all
 * is. Returning anything but 0 before that stops (ECANCELED). progress may be
 * NULL.
 */
RDM_API int rdm_pool_reserve(rdm_pool *pool, size_t bytes);
RDM_API int rdm_pool_reserve_progress(rdm_pool *pool, size_t bytes,
				      int (*progress)(void *context, size_t done, size_t total),
				      void *context);

/*
 * Deregisters and returns slabs in which nothing is live, as long as `keep`
 * bytes of slabs remain. Where that is below the pool's watermark, slabs come back
 * when a later allocation takes memory from one. errno: EINVAL, ECHILD, EBUSY (a rail refused to
 * deregister a slab, or vm.max_map_count is too small; the slab stays mapped, out
 * of use, and is tried again next time).
 */
RDM_API int rdm_pool_trim(rdm_pool *pool, size_t keep);

/*
 * Reads /proc/self/smaps and pagemap and checks that each page of the pool is
 * fit for RDMA. Returns 0 when it could look, see audit->violations. No root
 * needed. errno: EINVAL, EACCES (/proc cannot be read, e.g. because the process
 * is not dumpable), ECHILD, ENOMEM.
 */
RDM_API int rdm_pool_audit(rdm_pool *pool, struct rdm_audit *audit);

/* Fills *stats. Exact while nobody allocates. errno: EINVAL. */
RDM_API int rdm_pool_stats(rdm_pool *pool, struct rdm_stats *stats);

/*
 * Calls visit for each live block of a pool, in the order of addresses, with its usable size in
 * bytes, and ends early with what that returned if it is not 0. No lock is held meanwhile:
 * visit may do anything but destroy the pool, a block that another thread frees may still be
 * named, and one that is allocated meanwhile may not be. Else 0. errno: EINVAL, EDEADLK.
 */
RDM_API int rdm_pool_each_block(rdm_pool *pool,
				int (*visit)(void *context, void *block, size_t size),
				void *context);

/*
 * The malloc family. A block is aligned to 64 bytes at least, never shares a page
 * with memory that is not the pool's, and has one key per rail for its whole
 * length. A size of 0 gets a block of
 * the smallest size, which must be freed. The largest block is what fits the
 * pool's limit, 448 GiB at most. alignment is in bytes, a power of two.
 * errno: ENOMEM (limit, memory, reserve, longer than a rail can register), EINVAL
 * (pool, alignment), ECHILD (inherited pool), EDEADLK (called by a registrar),
 * ENOSPC (an io_uring rail's table is full), EFBIG (RLIMIT_FSIZE, backing
 * shared), or what a registrar, mbind() or memfd_create() failed with.
 *
 * rdm_realloc: pool is the block's own, or NULL for it; ptr may be NULL if
 * pool is not. When it fails the old block is untouched. A size of 0 does not
 * free.
 */
RDM_API void *rdm_malloc(rdm_pool *pool, size_t size)
	RDM_ATTR((malloc, alloc_size(2), warn_unused_result));
RDM_API void *rdm_calloc(rdm_pool *pool, size_t count, size_t size)
	RDM_ATTR((malloc, alloc_size(2, 3), warn_unused_result));
RDM_API void *rdm_aligned_alloc(rdm_pool *pool, size_t alignment, size_t size)
	RDM_ATTR((malloc, alloc_align(2), alloc_size(3), warn_unused_result));
RDM_API void *rdm_realloc(rdm_pool *pool, void *ptr, size_t size)
	RDM_ATTR((alloc_size(3), warn_unused_result));

/*
 * Frees a block of any pool, from any thread, also in the child of a fork.
 * NULL is allowed. A pointer that is no live block's start (foreign, freed
 * already, inside a block) is a bug in the caller: one line names it and the
 * process aborts. rdm_free_sized also checks that size belongs to the block's
 * size class; it is for blocks of rdm_malloc, rdm_calloc and rdm_realloc. errno
 * is preserved.
 */
RDM_API void rdm_free(void *ptr);
RDM_API void rdm_free_sized(void *ptr, size_t size);

/*
 * Gives the free blocks that the calling thread keeps, of every pool, to all
 * threads. A thread does so when it ends; one that sleeps for long may want to.
 */
RDM_API void rdm_thread_flush(void);

/* Bytes usable at ptr, a live block's start. errno: EINVAL (then 0). */
RDM_API size_t rdm_usable_size(const void *ptr);

/* The pool whose slab ptr points into. errno: EINVAL (then NULL). */
RDM_API rdm_pool *rdm_pool_of(const void *ptr);

/*
 * The keys of a pointer into any live block, or what rdm_register() got, on one rail.
 * Lock-free; it looks at the slab only, not whether a block is live there. errno: EINVAL (not in a
 * pool), ENOENT (no such rail), ECHILD (inherited pool: the
 * keys are the parent's).
 */
RDM_API int rdm_key(const void *ptr, int rail, struct rdm_key *key);

/*
 * Fills `count` entries of sge from the pool pointers in iov: address, length
 * and the lkey on that rail. Each range must lie inside one block; that it lies
 * inside one registration is checked. errno: EINVAL (not in a pool, beyond its
 * registration, longer than UINT32_MAX), ENOENT, ECHILD, ENOTSUP (built without
 * verbs); sge is then undefined. Lock-free.
 */
RDM_API int rdm_sge(const struct iovec *iov, size_t count, int rail, struct ibv_sge *sge);

/* Why memory cannot be kept safe through fork(), see rdm_register_unsafe(). */
enum rdm_unsafe {
	RDM_UNSAFE_PAGES = 1,     /* not whole pages: something else shares the first or the last */
	RDM_UNSAFE_READ_ONLY = 2, /* private, and it may not be written to */
	RDM_UNSAFE_STACK = 4,     /* the calling thread's stack, or the process's */
	RDM_UNSAFE_MIXED = 8,     /* a part is private, a part is shared memory */
};

/*
 * Memory that is not a pool's: the program's own buffer, heap, file or shared memory. It is
 * registered with every rail that the pool has or gets, and rdm_key() and rdm_sge() know it.
 * Private memory is MADV_DONTFORK and written to first; a child finds there what the
 * pool's fork policy says. Shared memory, to which copy-on-write never comes, is left as
 * it is, and children inherit it. address and length, in bytes, are whole pages where the
 * memory is private.
 *
 * Calls for a range that is registered already, or for a part of one, only count, without
 * a lock: a cache of registrations that cannot be stale, because who calls rdm_deregister() before
 * munmap() or free() is who owns the memory. At the last of as many calls the range is
 * deregistered, and children inherit it again (also if the program had called madvise(MADV_DONTFORK)
 * itself). In a child the ranges are the parent's: rdm_key() fails with ECHILD, and
 * rdm_deregister() forgets them.
 *
 * errno: EINVAL (pool; no such range; a pool's own memory; unsafe: the line says why),
 * EACCES (private and not writable; /proc/self/maps cannot be read), EFAULT (not
 * mapped), EBUSY (another pool has registered a part), ECHILD (inherited pool), ENOMEM,
 * EFBIG (longer than a rail can register), EDEADLK, or what the registrar failed with.
 *
 * rdm_register_unsafe takes what cannot be kept safe, too, and returns why: an OR of enum
 * rdm_unsafe, 0 for what is safe. Of memory that is not whole pages those that are stay safe;
 * of the rest what the device sees after a fork() is up to the kernel.
 */
RDM_API int rdm_register(rdm_pool *pool, void *address, size_t length);
RDM_API int rdm_register_unsafe(rdm_pool *pool, void *address, size_t length);
/*
 * The same address and length. errno: EINVAL, ENOENT (not registered with this pool), EDEADLK, or what
 * the registrar failed with: then it stays registered, and the call can be made again.
 */
RDM_API int rdm_deregister(rdm_pool *pool, void *address, size_t length);

/*
 * One-sided access: what a peer must know of a pool. rdm_regions_export writes
 * a description of the pool's regions on one rail (address, length, rkey of
 * each slab) in a form that is the same on every machine, and returns its size
 * in bytes; the caller sends it. With a capacity that is too small nothing is
 * written, and the size that was needed is returned all the same. The
 * description is true until the pool grows, trims or changes its rails; its
 * generation tells the peer which of two is newer.
 * errno: EINVAL, ENOENT (no such rail), ECHILD.
 */
RDM_API ssize_t rdm_regions_export(rdm_pool *pool, int rail, void *buffer, size_t capacity);

/*
 * At the peer: checks a description as received, then finds the rkey for `length`
 * bytes at `address` in the exporting process. Both need no pool, allocate
 * nothing and may run in any thread. errno: EPROTO (not a description, of
 * another version, or cut short), EFAULT (not inside one region), EINVAL (rkey
 * is NULL).
 */
RDM_API int rdm_regions_check(const void *buffer, size_t size, uint32_t *generation);
RDM_API int rdm_regions_resolve(const void *buffer, size_t size, uint64_t address, uint64_t length,
				uint32_t *rkey);

/* "0.1.0" */
RDM_API const char *rdm_version(void);

#ifdef __cplusplus
}
#endif

#endif
