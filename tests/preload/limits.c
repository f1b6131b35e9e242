/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits that a program meets or sets under the preload: what they count is what the program
 * uses, whenever they come. Each act has a process of its own.
 */
#include "start.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* In KiB, of /proc/self/status. */
static long status(const char *name)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	long value = -1;

	T_CHECK(file);
	while (value < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = atol(line + strlen(name) + 1);
	fclose(file);
	T_CHECKF(value >= 0, "no %s", name);
	return value;
}

static void limit_to(int resource, size_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	T_CHECKF(!setrlimit(resource, &limit), "setrlimit: %s", strerror(errno));
}

static char *touched(size_t size)
{
	/* Or clang leaves out what nobody looks at. */
	char *volatile p = malloc(size);

	if (p)
		memset(p, 1, size);
	return p;
}

static unsigned take(unsigned most, size_t size)
{
	unsigned n = 0;

	while (n < most && touched(size))
		n++;
	return n;
}

static void become_ordinary(void)
{
	if (!geteuid())
		T_CHECK(!setgroups(0, NULL) && !setgid(65534) && !setuid(65534));
}

static int nothing(void *arg)
{
	(void)arg;
	return T_PASS;
}

/* What a block costs is about its size, and nothing remains of a large one. */
static int virtual_size(void *arg)
{
	long before = status("VmSize:"), peak;
	char *p;

	(void)arg;
	T_CHECK(touched(T_MIB));
	peak = status("VmSize:");
	T_CHECKF(peak - before < 64 << 10, "%ld KiB of addresses for 1 MiB", peak - before);
	T_CHECK((p = touched(300 * T_MIB)));
	peak = status("VmSize:");
	T_CHECKF(peak - before < 512 << 10, "%ld KiB of addresses for 301 MiB", peak - before);
	free(p);
	return T_PASS;
}

static int address_space_later(void *arg)
{
	void *volatile none;

	(void)arg;
	T_CHECK(touched(T_MIB));
	limit_to(RLIMIT_AS, ((size_t)status("VmSize:") << 10) + 300 * T_MIB);
	T_CHECK(take(100, T_MIB) == 100);
	T_CHECK(mmap(NULL, 40 * T_MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		MAP_FAILED);
	t_fork_passes(nothing, NULL);
	/* To the end, without a crash. */
	T_CHECK(take(100000, T_MIB) < 300);
	T_FAILS(!(none = malloc(T_MIB)), ENOMEM);
	return T_PASS;
}

static int data_limit(void *arg)
{
	unsigned n;

	(void)arg;
	limit_to(RLIMIT_DATA, 50 * T_MIB);
	n = take(10000, 20000);
	T_CHECKF(n > 1250, "%u blocks of 20,000 bytes with 50 MiB", n);
	T_CHECKF(n < 3000, "%u blocks of 20,000 bytes with 50 MiB", n);
	return T_PASS;
}

/* When the pool is full, what was freed serves again. */
static int full_and_reused(void *arg)
{
	enum { MOST = 400 };
	static char *block[MOST];
	unsigned n = 0, again = 0;

	(void)arg;
	T_CHECK(touched(T_MIB));
	limit_to(RLIMIT_AS, ((size_t)status("VmSize:") << 10) + 100 * T_MIB);
	while (n < MOST && (block[n] = touched(T_MIB)))
		n++;
	T_CHECKF(n > 40 && n < MOST, "%u blocks of 1 MiB in 100", n);
	for (unsigned i = 0; i < n; i++)
		free(block[i]);
	while (again < n && touched(T_MIB))
		again++;
	T_CHECKF(again > n - n / 8, "%u blocks of 1 MiB, and after they were freed %u", n, again);
	return T_PASS;
}

/* Not one page more is to be had when the first block is wanted: the next malloc has it, or nobody. */
static int full_before_the_first(int resource, const char *counted)
{
	char *volatile block;

	limit_to(resource, (size_t)status(counted) << 10);
	for (size_t size = 16 << 10; size < 64 * T_MIB; size *= 2) {
		block = malloc(size);
		free(block);
	}
	block = malloc(100 * T_MIB);
	T_CHECK(!block);
	return T_PASS;
}

static int no_page_more(void *arg)
{
	(void)arg;
	return full_before_the_first(RLIMIT_AS, "VmSize:");
}

static int no_data_more(void *arg)
{
	(void)arg;
	return full_before_the_first(RLIMIT_DATA, "VmData:");
}

static int lock_what_is_there(void *arg)
{
	char *p;

	(void)arg;
	/* Without the library's tables it must fit, which depends on what it is linked with. */
	if (status("VmSize:") > 7 << 10)
		t_skip("this program alone is larger than 7 MiB");
	limit_to(RLIMIT_MEMLOCK, 8 * T_MIB);
	become_ordinary();
	T_CHECK((p = touched(T_MIB)));
	T_CHECKF(!mlockall(MCL_CURRENT), "mlockall(MCL_CURRENT): %s", strerror(errno));
	T_CHECKF(status("VmLck:") >= 1024, "%ld KiB are locked", status("VmLck:"));
	/* More than the limit is refused, and nothing is locked by that. */
	T_CHECK(!munlockall() && touched(16 * T_MIB));
	T_FAILS(mlockall(MCL_CURRENT) == -1, ENOMEM);
	T_CHECKF(!status("VmLck:"), "%ld KiB are locked by a call that failed", status("VmLck:"));
	return T_PASS;
}

static int lock_what_comes(void *arg)
{
	long before;

	(void)arg;
	limit_to(RLIMIT_MEMLOCK, 8 * T_MIB);
	become_ordinary();
	T_CHECK(!mlockall(MCL_FUTURE));
	before = status("VmLck:");
	T_CHECK(take(50, 100 * 1024) == 50);
	T_CHECKF(status("VmLck:") - before < 7 << 10, "5,000 KiB of blocks lock %ld",
		 status("VmLck:") - before);
	return T_PASS;
}

static int lock_all_without_limit(void *arg)
{
	struct rlimit limit;
	long before;

	(void)arg;
	/* Who may: the limit, or the capability. */
	T_CHECK(!getrlimit(RLIMIT_MEMLOCK, &limit));
	if (limit.rlim_cur != RLIM_INFINITY) {
		limit_to(RLIMIT_MEMLOCK, 8 * T_MIB);
		if (mlock(mmap(NULL, 32 * T_MIB, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
			  32 * T_MIB))
			t_skip("this user may lock 8 MiB only");
	}
	T_CHECK(!mlockall(MCL_CURRENT | MCL_FUTURE));
	before = status("VmRSS:");
	T_CHECK(touched(2 * T_MIB));
	T_CHECKF(status("VmRSS:") - before < 8 << 10, "a block of 2 MiB makes %ld KiB resident",
		 status("VmRSS:") - before);
	return T_PASS;
}

static const struct {
	const char *name;
	int (*run)(void *arg);
} acts[] = {
	{ "virtual size", virtual_size },
	{ "RLIMIT_AS, later", address_space_later },
	{ "RLIMIT_DATA", data_limit },
	{ "a full pool", full_and_reused },
	{ "no page before the first block", no_page_more },
	{ "no data before the first block", no_data_more },
	{ "mlockall(MCL_CURRENT)", lock_what_is_there },
	{ "mlockall(MCL_FUTURE)", lock_what_comes },
	{ "mlockall, unlimited", lock_all_without_limit },
};

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, t_quick() ? NULL : "threshold:0");
	for (unsigned i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		struct t_caught caught;

		t_catch(&caught, acts[i].run, NULL);
		t_say("%s: status %#x, %zu lines on stderr", acts[i].name, caught.status,
		      t_lines(caught.err));
		if (caught.status == T_SKIP << 8) {
			t_say("ok %u - %s # SKIP too little may be locked", i + 1, acts[i].name);
			continue;
		}
		T_CHECKF(!caught.status, "%s: %s", acts[i].name, caught.err);
		T_CHECKF(t_lines(caught.err) <= 2, "%s: %zu lines: %s", acts[i].name,
			 t_lines(caught.err), caught.err);
		t_say("ok %u - %s", i + 1, acts[i].name);
	}
	t_say("1..%zu", sizeof(acts) / sizeof(acts[0]));
	return T_PASS;
}
