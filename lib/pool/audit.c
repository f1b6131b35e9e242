/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/contract.h"
#include "base/log.h"
#include "memory/state.h"
#include "pool/pool.h"
#include "rdmalloc.h"
#include "slab/registration.h"
#include "sync/quiesce.h"

/* Documentation/admin-guide/mm/pagemap.rst; bit 56 since Linux 4.2. */
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FILE (UINT64_C(1) << 61)
#define PAGEMAP_EXCLUSIVE (UINT64_C(1) << 56)
#define PAGEMAP_BATCH 512

/* One mapping of /proc/self/smaps. */
struct mapping {
	uintptr_t start, end;
	char mode[5];
	bool dontfork, mergeable;
};

static bool is_header(const char *line)
{
	return isxdigit((unsigned char)line[0]) && !isupper((unsigned char)line[0]);
}

/* Pages of the mapping that are the slab's. */
static size_t overlap(const struct mapping *map, const struct rdm_slab *slab)
{
	uintptr_t start = (uintptr_t)slab->base, end = start + slab->length;

	rdm_assert(map->start <= map->end);
	start = map->start > start ? map->start : start;
	end = map->end < end ? map->end : end;
	return start < end ? (end - start) >> rdm_state.page_shift : 0;
}

static void judge_mapping(const struct rdm_slab_set *set, const struct mapping *map,
			  struct rdm_audit *audit)
{
	const struct rdm_slab *slab;

	TAILQ_FOREACH (slab, &set->slabs, link) {
		size_t pages = overlap(map, slab);

		if (!map->dontfork)
			audit->inheritable += pages;
		if (map->mergeable)
			audit->mergeable += pages;
		if (map->mode[1] != 'w')
			audit->not_writable += pages;
	}
}

static int read_flags(const struct rdm_slab_set *set, struct rdm_audit *audit)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	struct mapping map = { 0 };
	char *line = NULL;
	size_t capacity = 0;
	int error;

	if (!smaps)
		return errno;
	while (getline(&line, &capacity, smaps) > 0) {
		if (is_header(line)) {
			if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &map.start, &map.end,
				   map.mode) != 3)
				map = (struct mapping){ 0 };
		} else if (!strncmp(line, "VmFlags:", 8)) {
			map.dontfork = strstr(line, " dc") != NULL;
			map.mergeable = strstr(line, " mg") != NULL;
			judge_mapping(set, &map, audit);
		}
	}
	error = ferror(smaps) || !feof(smaps) ? ENOMEM : 0;
	free(line);
	fclose(smaps);
	return error;
}

static void judge_page(uint64_t entry, bool shared, struct rdm_audit *audit)
{
	if (!(entry & PAGEMAP_PRESENT))
		audit->absent++;
	else if (!shared && !(entry & PAGEMAP_EXCLUSIVE))
		audit->not_exclusive++;
	else if (shared && !(entry & PAGEMAP_FILE))
		audit->not_exclusive++;
}

static int read_slab_pages(const struct rdm_slab *slab, int pagemap, struct rdm_audit *audit)
{
	bool shared = slab->set->kind.backing == RDM_BACKING_SHARED;
	uint64_t entries[PAGEMAP_BATCH];
	size_t first = (uintptr_t)slab->base >> rdm_state.page_shift;

	rdm_assert(pagemap >= 0);
	for (size_t done = 0; done < slab->pages;) {
		size_t wanted =
			slab->pages - done < PAGEMAP_BATCH ? slab->pages - done : PAGEMAP_BATCH;
		ssize_t got = pread(pagemap, entries, wanted * sizeof(entries[0]),
				    (off_t)((first + done) * sizeof(entries[0])));

		if (got <= 0)
			return got ? errno : EIO;
		for (size_t i = 0; i < (size_t)got / sizeof(entries[0]); i++)
			judge_page(entries[i], shared, audit);
		done += (size_t)got / sizeof(entries[0]);
	}
	return 0;
}

static int read_pages(const struct rdm_slab_set *set, struct rdm_audit *audit)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	const struct rdm_slab *slab;
	int error = 0;

	if (pagemap < 0)
		return errno;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		audit->pages += slab->pages;
		if (!error)
			error = read_slab_pages(slab, pagemap, audit);
	}
	close(pagemap);
	return error;
}

static void read_keys(const struct rdm_slab_set *set, struct rdm_audit *audit)
{
	const struct rdm_slab *slab;
	unsigned rails = 0;

	rdm_assert(rdm_quiesce_is_held());
	for (int i = 0; i < RDM_RAILS_MAX; i++)
		if (set->rails[i].used && !set->rails[i].closing)
			rails |= 1U << i;
	TAILQ_FOREACH (slab, &set->slabs, link) {
		rdm_assert(slab->quarantined || rdm_slab_keys_agree(slab));
		if (!slab->quarantined && (rdm_slab_rails(slab) & rails) != rails)
			audit->unregistered += slab->pages;
	}
}

static int audit_set(const struct rdm_slab_set *set, struct rdm_audit *audit)
{
	int error = read_flags(set, audit);

	rdm_assert(rdm_quiesce_is_held());
	if (!error)
		error = read_pages(set, audit);
	if (error) {
		rdm_log(RDM_LOG_ERROR,
			"rdm_pool_audit: /proc/self/smaps or pagemap cannot be read: %s",
			strerror(error));
		return error == ENOMEM ? ENOMEM : EACCES;
	}
	read_keys(set, audit);
	audit->violations = audit->inheritable + audit->mergeable + audit->absent +
			    audit->not_exclusive + audit->not_writable + audit->unregistered;
	return 0;
}

static int audit_pool(struct rdm_pool *pool, struct rdm_audit *audit)
{
	int error = audit_set(&pool->slabs, audit);

	rdm_assert(audit);
	if (!error) {
		pool->audited.time_ns = rdm_clock_time_ns();
		pool->audited.pages = audit->pages;
		pool->audited.violations = audit->violations;
	}
	return error;
}

int rdm_pool_audit(rdm_pool *pool, struct rdm_audit *audit)
{
	if (!rdm_pool_check(pool, "rdm_pool_audit"))
		return -1;
	if (!audit || audit->size != sizeof(*audit)) {
		rdm_log(RDM_LOG_ERROR, "rdm_pool_audit: size is not sizeof(struct rdm_audit)");
		errno = EINVAL;
		return -1;
	}
	if (!rdm_quiesce_enter("rdm_pool_audit"))
		return -1;
	*audit = (struct rdm_audit){ .size = sizeof(*audit) };
	/* The pages are the parent's, which is who should look. */
	if (atomic_load(&pool->heap.inherited))
		return rdm_quiesce_leave(ECHILD);
	return rdm_quiesce_leave(audit_pool(pool, audit));
}
