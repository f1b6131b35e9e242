/* SPDX-License-Identifier: BSD-2-Clause */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "check.h"
#include "base/conf.h"
#include "read.h"

/* What a program of some size has registered; the kernel's own default is 2. */
#define SLABS_WANTED 64
#define OBJECTS_WANTED 64
#define MAPS_STANDARD 65530

static unsigned long long wanted_bytes(void)
{
	return (unsigned long long)SLABS_WANTED * rdm_conf()->slab_size;
}

static const char *limit_text(rlim_t limit)
{
	return limit == RLIM_INFINITY ? "unlimited" : bytes_text(limit);
}

/*
 * At a limit of nothing mlock() is refused, but for those who have CAP_IPC_LOCK. A sanitizer's
 * mlock() does nothing, so this is the system call.
 */
static bool is_exempt(const struct rlimit *limit)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = limit->rlim_max };
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool exempt;

	if (page == MAP_FAILED)
		return false;
	exempt = !setrlimit(RLIMIT_MEMLOCK, &none) && !syscall(SYS_mlock, page, size);
	setrlimit(RLIMIT_MEMLOCK, limit);
	munmap(page, size);
	return exempt;
}

static void advise_memlock(struct report *report, const struct rlimit *limit)
{
	if (limit->rlim_max >= wanted_bytes()) {
		advise(report, "raise the soft limit before the program starts");
		advise_command(report, "ulimit -S -l $(ulimit -H -l)");
		return;
	}
	advise(report, "raise it, log in again (services: LimitMEMLOCK=)");
	advise_command(report,
		       "echo '* - memlock unlimited' | %stee /etc/security/limits.d/rdma.conf",
		       geteuid() ? "sudo " : "");
}

void check_memlock(struct report *report)
{
	size_t slab = rdm_conf()->slab_size;
	enum severity severity = IS_FINE;
	struct rlimit limit;

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (is_exempt(&limit)) {
		report_found(report, IS_FINE, "soft %s, hard %s; CAP_IPC_LOCK: no limit here",
			     limit_text(limit.rlim_cur), limit_text(limit.rlim_max));
		return;
	}
	if (limit.rlim_cur < slab)
		severity = IS_ERROR;
	else if (limit.rlim_cur < wanted_bytes())
		severity = IS_WARNING;
	report_found(report, severity, "soft %s, hard %s%s", limit_text(limit.rlim_cur),
		     limit_text(limit.rlim_max),
		     severity == IS_ERROR   ? ": too little for one slab" :
		     severity == IS_WARNING ? ": little can be registered" :
					      "");
	if (severity != IS_FINE)
		advise_memlock(report, &limit);
}

struct least {
	unsigned long long value;
	char where[PATH_MAX];
	char device[64];
};

static void least_memory(const char *directory, void *context)
{
	static const char *const names[] = { "memory.max", "memory.limit_in_bytes" };
	struct least *least = context;
	unsigned long long value;
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		if (!file_number(&value, path) || value >= least->value)
			continue;
		least->value = value;
		memcpy(least->where, path, sizeof(path));
	}
}

void check_cgroup_memory(struct report *report)
{
	/* What is no limit in version 1 is a little less than this. */
	struct least least = { .value = LLONG_MAX - (1 << 20) };

	if (!each_cgroup("memory", least_memory, &least)) {
		report_found(report, IS_FINE, "no cgroup of memory's can be seen");
		return;
	}
	if (!*least.where) {
		report_found(report, IS_FINE, "no limit");
		return;
	}
	if (least.value >= wanted_bytes()) {
		report_found(report, IS_FINE, "%s, pinned pages included", bytes_text(least.value));
		return;
	}
	report_found(report, IS_WARNING, "%s, pinned pages included", bytes_text(least.value));
	advise(report, "raise the limit of the cgroup");
	advise_write(report, strstr(least.where, ".max") ? "max" : "-1", least.where);
}

/* The lines of rdma.max are "rxe0 hca_handle=8 hca_object=max". */
static void least_objects(const char *directory, void *context)
{
	struct least *least = context;
	char path[PATH_MAX], line[256], device[64];
	unsigned long long objects;
	FILE *file;

	snprintf(path, sizeof(path), "%s/rdma.max", directory);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		const char *field = strstr(line, "hca_object=");

		if (!field || sscanf(field, "hca_object=%llu", &objects) != 1 ||
		    sscanf(line, "%63s", device) != 1 || objects >= least->value)
			continue;
		least->value = objects;
		memcpy(least->where, path, sizeof(path));
		memcpy(least->device, device, sizeof(device));
	}
	if (file)
		fclose(file);
}

void check_cgroup_rdma(struct report *report)
{
	struct least least = { .value = LLONG_MAX };
	char value[128];

	if (!each_cgroup("rdma", least_objects, &least) || !*least.where) {
		report_found(report, IS_FINE, "no limit");
		return;
	}
	snprintf(value, sizeof(value), "%s hca_object=max", least.device);
	report_found(report, least.value < OBJECTS_WANTED ? IS_WARNING : IS_FINE,
		     "%s: %llu objects, of which each registration is one", least.device,
		     least.value);
	if (least.value >= OBJECTS_WANTED)
		return;
	advise(report, "raise the limit of the cgroup");
	advise_write(report, value, least.where);
}

static unsigned count_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned lines = 0;
	int character;

	while (file && (character = getc(file)) != EOF)
		lines += character == '\n';
	if (file)
		fclose(file);
	return lines;
}

void check_max_map_count(struct report *report)
{
	unsigned long long most;
	unsigned own = count_maps();

	if (!file_number(&most, "/proc/sys/vm/max_map_count")) {
		report_untested(report, "vm.max_map_count cannot be read");
		return;
	}
	/* To mark a range in the midst of a mapping makes two more of it. */
	report_found(report, most < MAPS_STANDARD ? IS_WARNING : IS_FINE,
		     "%llu, this process has %u: %llu marked ranges fit", most, own,
		     most > own ? (most - own) / 2 : 0);
	if (most >= MAPS_STANDARD)
		return;
	advise(report, "raise it to the kernel's default at least");
	advise_sysctl(report, "vm.max_map_count=65530");
}

void check_overcommit(struct report *report)
{
	unsigned long long mode, limit = 0, used = 0;

	if (!file_number(&mode, "/proc/sys/vm/overcommit_memory")) {
		report_untested(report, "vm.overcommit_memory cannot be read");
		return;
	}
	if (mode != 2) {
		report_found(report, IS_FINE, "vm.overcommit_memory is %llu", mode);
		return;
	}
	file_field(&limit, "/proc/meminfo", "CommitLimit");
	file_field(&used, "/proc/meminfo", "Committed_AS");
	report_found(
		report, IS_WARNING,
		"vm.overcommit_memory is 2: the reserve and children's copies are charged for, %s "
		"are left",
		bytes_text(limit > used ? (limit - used) << 10 : 0));
	advise(report, "allow overcommit, or set a small reserve: RDMALLOC_CONF=reserve:4G");
	advise_sysctl(report, "vm.overcommit_memory=0");
}
