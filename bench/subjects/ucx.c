/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UCX: a buffer that ucp_mem_map allocates, or (REGISTER) one of malloc's that it
 * registers; and a hit in the registration cache that its transports use. The
 * cache is asked for addresses only: its own work is measured, not a device's.
 */
#include "config.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucm/api/ucm.h>
#include <ucp/api/ucp.h>
#include <ucs/memory/rcache.h>

#include "subjects/buffer.h"
#include "worker.h"

#ifdef REGISTER
#define SUBJECT_NAME "ucx-register"
#else
#define SUBJECT_NAME "ucx"
#define SUBJECT_KEY 1
#endif
#define SUBJECT_VERSION version
#define SUBJECT_READY 1

static char version[80];
static ucp_context_h context;

static const char *subject_open(void)
{
	ucp_params_t params = { .field_mask = UCP_PARAM_FIELD_FEATURES,
				.features = UCP_FEATURE_RMA };
	ucs_status_t status = ucp_init(&params, NULL, &context);
	bool has_device = !glob("/sys/class/infiniband/*", 0, NULL, &(glob_t){ 0 });

	if (status != UCS_OK)
		return bench_why("ucp_init: %s", ucs_status_string(status));
	buffer_setup();
	/* Who reads the figures must know. */
	snprintf(version, sizeof(version), "%s%s", ucp_get_version_string(),
		 has_device ? "" : ", no device: pins nothing");
	return NULL;
}

#ifdef REGISTER

static inline ucs_status_t make(size_t size, void **block, ucp_mem_h *region)
{
	ucp_mem_map_params_t params = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH,
		.length = size,
	};
	ucs_status_t status;

	*block = params.address = buffer_alloc(size);
	if (!*block)
		return UCS_ERR_NO_MEMORY;
	status = ucp_mem_map(context, &params, region);
	if (status != UCS_OK)
		free(*block);
	return status;
}

static inline void drop(void *block, ucp_mem_h region)
{
	ucp_mem_unmap(context, region);
	free(block);
}

#else

static inline ucs_status_t make(size_t size, void **block, ucp_mem_h *region)
{
	ucp_mem_map_params_t params = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
		.length = size,
		.flags = UCP_MEM_MAP_ALLOCATE,
	};
	ucp_mem_attr_t attr = { .field_mask = UCP_MEM_ATTR_FIELD_ADDRESS };
	ucs_status_t status = ucp_mem_map(context, &params, region);

	if (status == UCS_OK)
		status = ucp_mem_query(*region, &attr);
	*block = status == UCS_OK ? attr.address : NULL;
	return status;
}

static inline void drop(void *block, ucp_mem_h region)
{
	(void)block;
	ucp_mem_unmap(context, region);
}

#endif

static inline void *subject_ready(size_t size, uint64_t *key)
{
	ucs_status_t status;
	ucp_mem_h region;
	void *block;

	status = make(size, &block, &region);
	if (status != UCS_OK)
		bench_die("ucp_mem_map: %s", ucs_status_string(status));
	/* UCX's own operations take the handle; no lkey is to be seen. */
	*key = (uintptr_t)region;
	return block;
}

static inline void subject_ready_free(void *ptr, size_t size, uint64_t key)
{
	(void)size;
	drop(ptr, (ucp_mem_h)(uintptr_t)key);
}

#ifdef SUBJECT_KEY

#define PIECE ((size_t)2 << 20)

struct region {
	ucs_rcache_region_t super;
	uint32_t lkey;
};

static ucs_rcache_t *cache;

static ucs_status_t cache_register(void *arg, ucs_rcache_t *rcache, void *caller,
				   ucs_rcache_region_t *region, uint16_t flags)
{
	(void)arg;
	(void)rcache;
	(void)caller;
	(void)flags;
	((struct region *)region)->lkey = (uint32_t)(region->super.start / PIECE);
	return UCS_OK;
}

static void cache_deregister(void *arg, ucs_rcache_t *rcache, ucs_rcache_region_t *region)
{
	(void)arg;
	(void)rcache;
	(void)region;
}

static void cache_dump(void *arg, ucs_rcache_t *rcache, ucs_rcache_region_t *region, char *text,
		       size_t max)
{
	(void)arg;
	(void)rcache;
	(void)region;
	snprintf(text, max, "bench");
}

/* As UCX's InfiniBand transports make theirs. */
static const char *cache_open(void)
{
	static const ucs_rcache_ops_t operations = {
		.mem_reg = cache_register,
		.mem_dereg = cache_deregister,
		.dump_region = cache_dump,
	};
	ucs_rcache_params_t params = {
		.region_struct_size = sizeof(struct region),
		.alignment = UCS_RCACHE_MIN_ALIGNMENT,
		.max_alignment = buffer_page,
		.ucm_events = UCM_EVENT_VM_UNMAPPED,
		.ucm_event_priority = 1000,
		.ops = &operations,
		.max_regions = SIZE_MAX,
		.max_size = SIZE_MAX,
		.max_unreleased = SIZE_MAX,
	};
	ucs_status_t status = ucs_rcache_create(&params, "bench", NULL, &cache);

	/* Under valgrind UCX cannot hook munmap(); a hit has no part in that. */
	if (status == UCS_ERR_UNSUPPORTED) {
		params.ucm_events = 0;
		status = ucs_rcache_create(&params, "bench", NULL, &cache);
	}
	return status == UCS_OK ? NULL :
				  bench_why("ucs_rcache_create: %s", ucs_status_string(status));
}

static inline ucs_status_t cache_get(const void *ptr, size_t length, uint64_t *lkey)
{
	ucs_rcache_region_t *region;
	ucs_status_t status =
		ucs_rcache_get(cache, (void *)ptr, length, PROT_READ | PROT_WRITE, NULL, &region);

	if (status != UCS_OK)
		return status;
	*lkey = ((struct region *)region)->lkey;
	ucs_rcache_region_put(cache, region);
	return UCS_OK;
}

static void subject_key_unset(struct bench_range *range, unsigned n)
{
	ucs_rcache_destroy(cache);
	munmap(range[0].base, n * PIECE);
}

static const char *subject_key_set(struct bench_range *range, unsigned n)
{
	const char *why = cache_open();
	ucs_status_t status;
	uint64_t lkey;
	char *base;

	if (why)
		return why;
	base = mmap(NULL, n * PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED) {
		ucs_rcache_destroy(cache);
		return bench_why("no addresses: %s", strerror(errno));
	}
	for (unsigned i = 0; i < n; i++) {
		range[i] = (struct bench_range){ .base = base + i * PIECE, .length = PIECE };
		status = cache_get(range[i].base, PIECE, &lkey);
		if (status != UCS_OK) {
			subject_key_unset(range, n);
			return bench_why("ucs_rcache_get: %s", ucs_status_string(status));
		}
	}
	return NULL;
}

static inline uint64_t subject_key(const void *ptr)
{
	uint64_t lkey;

	if (cache_get(ptr, 1, &lkey) != UCS_OK)
		bench_die("the registration cache lost a region");
	return lkey;
}

#endif

#include "loops.h"
