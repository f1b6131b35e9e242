/* SPDX-License-Identifier: BSD-2-Clause */
#include "vm.h"

#include "support.h"

#include <string.h>

enum { HUGETLB_PAGES = 16 };

static long meminfo(const char *format)
{
	FILE *file = fopen("/proc/meminfo", "re");
	long number = 0;
	char line[128];

	T_CHECK(file);
	while (fgets(line, sizeof(line), file))
		sscanf(line, format, &number);
	fclose(file);
	return number;
}

static void need_hugetlb(void)
{
	FILE *file;

	if (meminfo("HugePages_Free: %ld") < HUGETLB_PAGES) {
		file = fopen("/proc/sys/vm/nr_hugepages", "we");
		if (file) {
			fprintf(file, "%d\n", 4 * HUGETLB_PAGES);
			fclose(file);
		}
	}
	if (meminfo("HugePages_Free: %ld") < HUGETLB_PAGES ||
	    meminfo("Hugepagesize: %ld") * 1024 != (long)T_SLAB)
		t_skip("%ld free hugetlb pages of %ld KiB, the test needs %d of 2048",
		       meminfo("HugePages_Free: %ld"), meminfo("Hugepagesize: %ld"), HUGETLB_PAGES);
}

static int pool_get(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	rdm_pool *pool = t_pool("probe", (unsigned)(uintptr_t)context, RDM_FORK_HOLE, T_SLAB, 0);
	struct rdm_key key = { 0 };
	int rail = -1;

	if (device->pd) {
		rail = rdm_pool_add_verbs(pool, device->pd, device->access);
		T_CHECKF(rail >= 0, "rdm_pool_add_verbs: %m");
	}
	buffer->addr = t_malloc(pool, buffer->length);
	T_CHECK(rail < 0 || !rdm_key(buffer->addr, rail, &key));
	buffer->registered = rail >= 0;
	buffer->lkey = key.lkey;
	buffer->rkey = key.rkey;
	buffer->owner = pool;
	return 0;
}

static void pool_put(void *context, struct probe_buffer *buffer)
{
	(void)context;
	rdm_free(buffer->addr);
	T_CHECKF(!rdm_pool_destroy(buffer->owner), "rdm_pool_destroy: %m");
}

struct probe_memory t_pool_memory(const char *backing)
{
	struct probe_memory memory = { .name = backing, .get = pool_get, .put = pool_put };

	if (!strcmp(backing, "hugetlb")) {
		need_hugetlb();
		memory.context = (void *)(uintptr_t)RDM_BACKING_HUGETLB;
	} else if (!strcmp(backing, "shared")) {
		memory.context = (void *)(uintptr_t)RDM_BACKING_SHARED;
	} else {
		T_CHECKF(!strcmp(backing, "anon"), "there is no backing %s", backing);
		memory.context = (void *)(uintptr_t)RDM_BACKING_ANON;
	}
	return memory;
}

void t_wire_open(struct t_wire *wire, const char *name)
{
	int error = rc_device_open_named(&wire->device, name);

	T_CHECKF(!error, "no RDMA device %s: %s", name ? name : "", strerror(error));
	for (int i = 0; i < 2; i++)
		T_CHECK(!rc_end_open(&wire->end[i], &wire->device));
	T_CHECK(!rc_connect_pair(&wire->end[0], &wire->end[1]));
}

bool t_wire_write(const struct t_wire *wire, int rail, void *from, void *to, size_t length,
		  uint64_t id)
{
	const struct iovec iov = { .iov_base = from, .iov_len = length };
	struct ibv_sge sge;
	struct rdm_key key;
	struct ibv_wc wc;
	int error;

	t_pattern_fill(from, length, id);
	t_pattern_fill(to, length, ~id);
	T_CHECK(!rdm_sge(&iov, 1, rail, &sge));
	T_CHECK(!rdm_key(to, rail, &key));
	error = rc_post_rdma(&wire->end[0], IBV_WR_RDMA_WRITE, &sge, (uintptr_t)to, key.rkey);
	if (!error)
		error = rc_wait(&wire->end[0], &wc);
	if (!error)
		T_CHECK(t_pattern_check(to, length, id) == length);
	else
		t_say("RDMA write: %s", rc_why(error, &wc));
	return !error;
}

void t_wire_close(struct t_wire *wire)
{
	for (int i = 0; i < 2; i++)
		rc_end_close(&wire->end[i]);
	T_CHECK(!rc_device_close(&wire->device));
}

size_t t_kernel_mrs(const char *device)
{
	FILE *rdma = popen("rdma resource show mr", "r");
	char line[512];
	size_t n = 0;

	T_CHECK(rdma);
	while (fgets(line, sizeof(line), rdma))
		n += strstr(line, device) != NULL;
	T_CHECKF(pclose(rdma) == 0, "rdma resource show mr failed");
	return n;
}

/* Whether VmFlags of the mapping at addr have it. */
static bool has_flag(const void *addr, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	unsigned long lo, hi;
	bool here = false, has = false;
	char line[1024];

	T_CHECK(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			here = (uintptr_t)addr >= lo && (uintptr_t)addr < hi;
		else if (here && !strncmp(line, "VmFlags:", 8))
			has = strstr(line, flag);
	}
	fclose(smaps);
	return has;
}

bool t_is_out(const void *addr)
{
	return has_flag(addr, " dc");
}
