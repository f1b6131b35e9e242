/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line about memory that cannot be had names the limit that is in the way, and no other: each
 * limit is put in the way, in a process of its own.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/blame.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

#define NOBODY 65534

static const char *const names[] = { "RLIMIT_AS",     "RLIMIT_DATA",   "RLIMIT_MEMLOCK",
				     "max_map_count", "vm.overcommit", "mseal" };
enum { NAMES = sizeof(names) / sizeof(names[0]) };

/* That one (NULL: none) is in the text, and none of the others. */
static void check_names(const char *text, const char *name)
{
	for (unsigned i = 0; i < NAMES; i++) {
		bool wanted = name && !strcmp(names[i], name);

		T_CHECKF(!strstr(text, names[i]) == !wanted, "it should name %s, and says \"%s\"",
			 name ? name : "no limit", text);
	}
}

static void check_blame(int error, unsigned wanted, size_t bytes, const char *name)
{
	const struct rdm_failure failure = { error, wanted, bytes, "look elsewhere" };
	struct rdm_blame_text text;

	rdm_blame_find(&failure, &text);
	check_names(text.at, name);
	T_CHECKF(!strstr(text.at, "look elsewhere") == (name != NULL), "it says \"%s\"", text.at);
}

/* Of /proc/self/status, bytes. */
static size_t status_of(const char *key)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	size_t bytes = 0;

	if (!file)
		t_skip("/proc/self/status cannot be read");
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			bytes = strtoul(line + strlen(key), NULL, 10) << 10;
	fclose(file);
	return bytes;
}

static void set_limit(int resource, size_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	T_CHECKF(!setrlimit(resource, &limit), "setrlimit: %s", strerror(errno));
}

#define ALL (RDM_WANT_ADDRESSES | RDM_WANT_MEMORY | RDM_WANT_MAPPINGS)

static int nothing_in_the_way(void *arg)
{
	(void)arg;
	check_blame(ENOMEM, ALL, 4096, NULL);
	check_blame(ENFILE, ALL, 4096, NULL);
	return T_PASS;
}

static int addresses(void *arg)
{
	(void)arg;
	set_limit(RLIMIT_AS, status_of("VmSize:") + 16 * T_MIB);
	check_blame(ENOMEM, ALL, 64 * T_MIB, "RLIMIT_AS");
	/* What fits, and what wants no addresses. */
	check_blame(ENOMEM, ALL, T_MIB, NULL);
	check_blame(ENOMEM, RDM_WANT_MAPPINGS, 64 * T_MIB, NULL);
	return T_PASS;
}

static int data(void *arg)
{
	(void)arg;
	set_limit(RLIMIT_DATA, status_of("VmData:") + 16 * T_MIB);
	check_blame(ENOMEM, ALL, 64 * T_MIB, "RLIMIT_DATA");
	check_blame(ENOMEM, RDM_WANT_ADDRESSES, 64 * T_MIB, NULL);
	return T_PASS;
}

static int memlock(void *arg)
{
	bool root = geteuid() == 0;

	(void)arg;
	set_limit(RLIMIT_MEMLOCK, 65536);
	if (root) {
		check_blame(ENOMEM, RDM_WANT_PINS, T_MIB, NULL);
		if (setgid(NOBODY) || setuid(NOBODY))
			return T_PASS;
	}
	check_blame(ENOMEM, RDM_WANT_PINS, T_MIB, "RLIMIT_MEMLOCK");
	check_blame(EPERM, RDM_WANT_PINS, T_MIB, "RLIMIT_MEMLOCK");
	/* What mmap() says after mlockall(MCL_FUTURE). */
	check_blame(EAGAIN, ALL, T_MIB, "RLIMIT_MEMLOCK");
	set_limit(RLIMIT_AS, status_of("VmSize:") + 16 * T_MIB);
	check_blame(ENOMEM, ALL, 64 * T_MIB, "RLIMIT_AS");
	check_blame(EFAULT, RDM_WANT_PINS, T_MIB, NULL);
	return T_PASS;
}

static int mappings(void *arg)
{
	size_t page = t_page(), most = 100000;
	char *memory = mmap(NULL, 2 * most * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i = 0;

	(void)arg;
	T_CHECK(memory != MAP_FAILED);
	check_blame(ENOMEM, ALL, 4096, NULL);
	while (i < most && !mprotect(memory + 2 * i * page, page, PROT_NONE))
		i++;
	if (i == most)
		t_skip("vm.max_map_count is more than this test makes");
	check_blame(ENOMEM, ALL, 4096, "max_map_count");
	/* The other limits come first where they are what is passed. */
	set_limit(RLIMIT_AS, status_of("VmSize:") + T_MIB);
	check_blame(ENOMEM, ALL, 64 * T_MIB, "RLIMIT_AS");
	return T_PASS;
}

static int without_proc(void *arg)
{
	char folder[] = "/tmp/rdmalloc-XXXXXX";

	(void)arg;
	T_CHECK(mkdtemp(folder));
	if (chroot(folder)) {
		rmdir(folder);
		return T_SKIP;
	}
	T_CHECK(!chdir("/"));
	set_limit(RLIMIT_AS, 64 * T_MIB);
	/* What cannot be compared is not blamed. */
	check_blame(ENOMEM, ALL, 64 * T_MIB, NULL);
	return T_PASS;
}

/* Of a slab that somebody has sealed. */
static int sealed(void *arg)
{
	rdm_pool *pool = t_pool("sealed", 0, 0, T_SLAB, 0);
	char *block = t_malloc(pool, T_SLAB / 2);
	char *slab = (char *)((uintptr_t)block & ~(uintptr_t)(T_SLAB - 1));

	(void)arg;
	if (syscall(SYS_mseal, slab, T_SLAB, 0))
		return T_SKIP;
	rdm_free(block);
	T_CHECK(rdm_pool_trim(pool, 0) && errno == EBUSY);
	return T_PASS;
}

static void a_sealed_slab(void **state)
{
	struct t_caught caught;

	(void)state;
	t_catch(&caught, sealed, NULL);
	if (WIFEXITED(caught.status) && WEXITSTATUS(caught.status) == T_SKIP) {
		t_say("SKIP: this kernel has no mseal(2)");
		skip();
	}
	T_CHECKF(WIFEXITED(caught.status) && !WEXITSTATUS(caught.status), "%s", caught.err);
	check_names(caught.err, "mseal");
}

static int refuse(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)addr;
	(void)length;
	(void)mr;
	return *(int *)context;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	(void)context;
	(void)mr;
	return 0;
}

/* A device refuses, and the limit has nothing to do with it. */
static int refused_by_a_device(void *arg)
{
	static const struct rdm_registrar registrar = { sizeof(registrar), "device", 0, refuse,
							dereg };
	rdm_pool *pool = t_pool("device", 0, 0, T_SLAB, 0);

	set_limit(RLIMIT_MEMLOCK, 65536);
	T_CHECK(rdm_pool_add_rail(pool, &registrar, arg) >= 0);
	T_CHECK(!rdm_malloc(pool, 1));
	return T_PASS;
}

static void a_device(void **state)
{
	int error = EOPNOTSUPP;
	struct t_caught caught;

	(void)state;
	t_catch(&caught, refused_by_a_device, &error);
	T_CHECKF(WIFEXITED(caught.status) && !WEXITSTATUS(caught.status), "%s", caught.err);
	check_names(caught.err, NULL);
}

/* Each in a process of its own, which it limits. */
#define CASE(name)                                                        \
	static void case_##name(void **state)                             \
	{                                                                 \
		int status = t_fork(name, NULL);                          \
                                                                          \
		(void)state;                                              \
		if (WIFEXITED(status) && WEXITSTATUS(status) == T_SKIP) { \
			t_say("SKIP: " #name ": not possible here");      \
			skip();                                           \
		}                                                         \
		assert_int_equal(status, 0);                              \
	}
CASE(nothing_in_the_way)
CASE(addresses)
CASE(data)
CASE(memlock)
CASE(mappings)
CASE(without_proc)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(case_nothing_in_the_way),
		cmocka_unit_test(case_addresses),
		cmocka_unit_test(case_data),
		cmocka_unit_test(case_memlock),
		cmocka_unit_test(case_mappings),
		cmocka_unit_test(case_without_proc),
		cmocka_unit_test(a_sealed_slab),
		cmocka_unit_test(a_device),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
