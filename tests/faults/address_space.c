/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RLIMIT_AS too small: the reserve is made smaller, or there is no pool and
 * one line says why; never a crash.
 */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static size_t mapped(void)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	unsigned long pages = 0;

	T_CHECK(statm && fscanf(statm, "%lu", &pages) == 1);
	fclose(statm);
	return pages * t_page();
}

/* Whether a pool works with so many more bytes of address space than now. */
static int subject(void *arg)
{
	size_t room = *(size_t *)arg;
	struct rlimit limit = { .rlim_cur = mapped() + room, .rlim_max = RLIM_INFINITY };
	rdm_pool *pool;
	void *block, *volatile none;

	T_CHECK(!setrlimit(RLIMIT_AS, &limit));
	errno = 0;
	pool = rdm_pool_create(NULL);
	if (!pool)
		return errno == ENOMEM ? 2 : T_FAIL;
	block = rdm_malloc(pool, 1000);
	if (!block) {
		T_CHECK(errno == ENOMEM && !rdm_pool_destroy(pool));
		return 2;
	}
	memset(block, 1, 1000);
	/* Beyond the smaller reserve. */
	T_FAILS(!(none = rdm_malloc(pool, 2 * room)), ENOMEM);
	rdm_free(block);
	T_CHECK(!rdm_pool_destroy(pool));
	return T_PASS;
}

int main(void)
{
	static const size_t mib[] = { 1, 3, 16, 64, 256, 1024, 8192, 100000 };
	struct t_caught caught;
	unsigned worked = 0, refused = 0;

	if (T_SANITIZED)
		t_skip("a sanitizer's shadow needs an unlimited address space");
	for (size_t i = 0; i < sizeof(mib) / sizeof(mib[0]); i++) {
		size_t room = mib[i] * T_MIB;

		t_catch(&caught, subject, &room);
		t_say("%zu MiB: status %#x: %s", mib[i], caught.status, caught.err);
		if (caught.status == 2 << 8) {
			refused++;
			T_CHECKF(t_lines(caught.err) == 1, "not one line");
			T_CHECKF(strstr(caught.err, "RLIMIT_AS"), "it does not name RLIMIT_AS");
		} else {
			T_CHECK(!caught.status);
			worked++;
		}
	}
	/* With 1 MiB there is no slab, with 1 GiB there must be one. */
	T_CHECKF(refused >= 1 && worked >= 3, "%u refused, %u worked", refused, worked);
	return T_PASS;
}
