/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under the preload a page that changes owner is as new: whatever its owner did to it with
 * madvise(), mprotect(), mlock(), mbind() and their like, the next block there is ordinary
 * memory; and calloc() is zero where pages are locked and cannot be given back, but writes
 * nothing where they are fresh. At several settings.
 */
#include "start.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t sizes[] = { 64 << 10, 1 << 20, 2000000, 40 << 20 };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* The compiler must not know what malloc does. */
static void *make(size_t size)
{
	void *volatile block = NULL;

	T_CHECKF(!posix_memalign((void **)&block, t_page(), size), "no %zu bytes", size);
	return block;
}

struct look {
	char flags[256]; /* VmFlags of the mapping that has an address */
	char name[128];
};

/* Order-free: neighbours that were touched may differ in what the kernel adds on its own. */
static struct look look_at(const void *addr)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	struct look look = { .flags = "" };
	unsigned long from, to;
	char line[512];
	bool here = false;

	T_CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		char protection[8], name[128] = "";

		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %127[^\n]", &from, &to, protection,
			   name) >= 3) {
			here = (uintptr_t)addr >= from && (uintptr_t)addr < to;
			if (here)
				snprintf(look.name, sizeof(look.name), "%s", name);
		} else if (here && !strncmp(line, "VmFlags:", 8)) {
			snprintf(look.flags, sizeof(look.flags), "%.255s", line + 8);
		}
	}
	fclose(file);
	T_CHECKF(*look.flags, "no mapping has %p", addr);
	return look;
}

static bool has_flag(const char *flags, const char *flag)
{
	for (const char *at = flags; (at = strstr(at, flag)); at++)
		if ((at == flags || at[-1] == ' ') && (at[2] == ' ' || at[2] == '\n' || !at[2]))
			return true;
	return false;
}

/* The middle of a block is ordinary memory; `closed`: children do not inherit any of it anyway. */
static void looks_ordinary(const char *block, size_t size, const char *after, bool closed)
{
	static const char *const alien[] = { "wf", "dd", "sr", "rr", "hg",
					     "nh", "mg", "lo", "dc", "ex" };
	struct look look = look_at(block + size / 2);

	for (unsigned i = 0; i < sizeof(alien) / sizeof(alien[0]); i++)
		if (has_flag(look.flags, alien[i]) && !(closed && !strcmp(alien[i], "dc")))
			t_fail(__FILE__, __LINE__, "%zu bytes after %s still have %s:%s", size,
			       after, alien[i], look.flags);
	T_CHECKF(has_flag(look.flags, "rd") && has_flag(look.flags, "wr"),
		 "%zu bytes after %s cannot be written:%s", size, after, look.flags);
	T_CHECKF(!strstr(look.name, "former"), "%zu bytes after %s are named %s", size, after,
		 look.name);
}

static void is_ordinary(char *block, size_t size, const char *after, bool closed)
{
	looks_ordinary(block, size, after, closed);
	for (size_t i = 0; i < size; i += 8 * t_page())
		block[i] = 5;
}

static int advise(char *block, size_t size, int advice)
{
	return madvise(block, size, advice);
}

static int protect(char *block, size_t size, int protection)
{
	return mprotect(block, size, protection);
}

static int lock(char *block, size_t size, int flags)
{
	(void)flags;
	/* What an ordinary user may lock beside what else is locked. */
	return mlock(block, size < T_MIB ? size : T_MIB);
}

static int lock_on_fault(char *block, size_t size, int flags)
{
	return mlock2(block, size < T_MIB / 2 ? size : T_MIB / 2, (unsigned)flags);
}

static int bind_to(char *block, size_t size, int mode)
{
	unsigned long node = 1;
	long (*function)(void *, unsigned long, int, const unsigned long *, unsigned long,
			 unsigned);
	void *symbol = dlsym(RTLD_DEFAULT, "mbind");

	if (!symbol)
		return -1;
	memcpy(&function, &symbol, sizeof(symbol));
	return (int)function(block, size, mode, &node, 64, 0);
}

static int with_key(char *block, size_t size, int key)
{
	int got = (int)syscall(SYS_pkey_alloc, 0, 0);

	(void)key;
	if (got < 0)
		return -1;
	return pkey_mprotect(block, size, PROT_READ | PROT_WRITE, got);
}

static int by_process(char *block, size_t size, int advice)
{
	struct iovec range = { block, size };
	int fd = (int)syscall(434 /* pidfd_open */, getpid(), 0);
	ssize_t (*function)(int, const struct iovec *, size_t, int, unsigned);
	void *symbol = dlsym(RTLD_DEFAULT, "process_madvise");
	ssize_t done = -1;

	memcpy(&function, &symbol, sizeof(symbol));
	if (fd >= 0 && symbol) {
		done = function(fd, &range, 1, advice, 0);
		close(fd);
	}
	return done < 0 ? -1 : 0;
}

static int name(char *block, size_t size, int unused)
{
	(void)unused;
	return prctl(0x53564d41 /* PR_SET_VMA */, 0, block, size, "former owner");
}

static int posix(char *block, size_t size, int advice)
{
	return posix_madvise(block, size, advice) ? -1 : 0;
}

/* What somebody does to a block. */
static const struct deed {
	const char *name;
	int (*call)(char *block, size_t size, int argument);
	int argument;
} deeds[] = {
	{ "MADV_DONTFORK", advise, MADV_DONTFORK },
	{ "MADV_WIPEONFORK", advise, 18 },
	{ "MADV_DONTDUMP", advise, MADV_DONTDUMP },
	{ "MADV_HUGEPAGE", advise, MADV_HUGEPAGE },
	{ "MADV_NOHUGEPAGE", advise, MADV_NOHUGEPAGE },
	{ "MADV_MERGEABLE", advise, MADV_MERGEABLE },
	{ "MADV_SEQUENTIAL", advise, MADV_SEQUENTIAL },
	{ "MADV_GUARD_INSTALL", advise, 102 },
	{ "POSIX_MADV_RANDOM", posix, POSIX_MADV_RANDOM },
	{ "process_madvise(MADV_DONTDUMP)", by_process, MADV_DONTDUMP },
	{ "mprotect(PROT_NONE)", protect, PROT_NONE },
	{ "mprotect(PROT_READ)", protect, PROT_READ },
	{ "mprotect(PROT_READ | PROT_EXEC)", protect, PROT_READ | PROT_EXEC },
	{ "pkey_mprotect()", with_key, 0 },
	{ "mlock()", lock, 0 },
	{ "mlock2(MLOCK_ONFAULT)", lock_on_fault, 1 },
	{ "mbind(MPOL_BIND)", bind_to, 2 },
	{ "PR_SET_VMA", name, 0 },
};
enum { DEEDS = sizeof(deeds) / sizeof(deeds[0]) };

/* How a block ends. */
static void end_by_free(char *block, size_t size)
{
	(void)size;
	free(block);
}

static void end_by_growing(char *block, size_t size)
{
	free(realloc(block, size + size / 2));
}

static void end_by_shrinking(char *block, size_t size)
{
	free(realloc(block, size / 4));
}

static bool is_closed(void)
{
	return strstr(getenv("RDMALLOC_CONF"), "preload_fork") != NULL;
}

static void each_deed(void)
{
	static void (*const ends[])(char *, size_t) = { end_by_free, end_by_growing,
							end_by_shrinking };

	for (unsigned d = 0; d < DEEDS; d++)
		for (unsigned s = 0; s < SIZES; s++)
			for (unsigned e = 0;
			     e < (sizes[s] > 32 * T_MIB || (t_quick() && s) ? 1 : 3); e++) {
				const struct deed *deed = &deeds[d];
				char *block = make(sizes[s]), *next[3];

				memset(block, 1,
				       16 * t_page() < sizes[s] ? 16 * t_page() : sizes[s]);
				if (deed->call(block, sizes[s] & -t_page(), deed->argument)) {
					free(block);
					continue;
				}
				ends[e](block, sizes[s]);
				for (unsigned i = 0; i < 3; i++) {
					next[i] = make(sizes[s]);
					is_ordinary(next[i], sizes[s], deed->name, is_closed());
				}
				for (unsigned i = 0; i < 3; i++)
					free(next[i]);
			}
}

/* As a program that moves a bound about in its own heap does. */
static void many_times(void)
{
	size_t size = 4 * T_MIB;
	char *block = make(size);

	for (size_t i = 0; i < size; i += t_page()) {
		T_CHECK(!mprotect(block + i, t_page(), PROT_READ));
		T_CHECK(!mprotect(block + i, t_page(), PROT_READ | PROT_WRITE));
		block[i] = 1;
	}
	for (size_t i = 0; i < size; i += 8 * t_page())
		T_CHECK(!mprotect(block + i, t_page(), PROT_NONE));
	free(block);
	block = make(size);
	memset(block, 3, size);
	free(block);
}

/* A child does not have what was DONTFORK, and uses that memory again after it has freed it. */
static int use_hole(void *arg)
{
	char *again;

	free(arg);
	for (unsigned i = 0; i < 4; i++) {
		again = make(T_MIB);
		memset(again, i, T_MIB);
	}
	return T_PASS;
}

static void children(void)
{
	char *block = make(T_MIB);

	if (is_closed())
		return;
	memset(block, 1, T_MIB);
	T_CHECK(!madvise(block, T_MIB, MADV_DONTFORK));
	t_fork_passes(use_hole, block);
	free(block);
}

/* What was done to registered pages is undone when nobody has them any more, and nobody gets them before. */
static void pinned(void)
{
	size_t size = 2 * T_MIB;
	char *block = make(size), *other[8];
	/* The compiler must not know that it looks at what was freed. */
	char *volatile kept = block;

	memset(block, 1, size);
	t_dontfork(block, size);
	T_CHECK(!mprotect(block, t_page(), PROT_READ));
	free(block);
	block = kept;
	for (unsigned i = 0; i < 8; i++) {
		other[i] = make(size);
		T_CHECKF(other[i] + size <= block || other[i] >= block + size,
			 "a block of registered pages that cannot be written");
		memset(other[i], 2, size);
	}
	T_CHECK(block[size / 2] == 1);
	t_dofork(block, size);
	for (unsigned i = 0; i < 8; i++)
		free(other[i]);
	/* The frees have looked. It is nobody's, so that it must not be written. */
	looks_ordinary(block, t_page(), "a registration", is_closed());
}

static void is_zero(const char *block, size_t size, const char *what)
{
	for (size_t i = 0; i < size; i++)
		T_CHECKF(!block[i], "%s: byte %zu of %zu of calloc's is %d", what, i, size,
			 block[i]);
}

static void zero_again(size_t size, const char *what)
{
	for (unsigned round = 0; round < 3; round++) {
		char *volatile block = malloc(size);

		if (!block)
			return;
		memset(block, 0x55, size);
		free(block);
		block = calloc(1, size);
		if (!block)
			return;
		is_zero(block, size, what);
		memset(block, 0x55, size);
		free(block);
	}
}

/* Memory that is locked cannot be given back. */
static int locked(void *arg)
{
	static const int flags[] = { MCL_CURRENT, MCL_FUTURE, MCL_CURRENT | MCL_FUTURE };

	for (unsigned i = 0; i < 3; i++) {
		if (mlockall(flags[i]))
			continue;
		for (unsigned s = 0; s < SIZES; s++)
			zero_again(sizes[s], "mlockall()");
		munlockall();
	}
	(void)arg;
	return T_PASS;
}

/* An ordinary user, near the limit. */
static int locked_by_user(void *arg)
{
	struct rlimit limit = { 6 * T_MIB, 6 * T_MIB };

	free(make(T_MIB));
	T_CHECK(!setrlimit(RLIMIT_MEMLOCK, &limit));
	if ((!geteuid() && (setgid(65534) || setuid(65534))) || mlockall(MCL_FUTURE))
		return T_PASS;
	for (unsigned s = 0; s < SIZES; s++)
		zero_again(sizes[s], "a limit of locked memory");
	(void)arg;
	return T_PASS;
}

/* Fresh pages are not written: what nobody touches is not there. */
static void sparse(void)
{
	enum { BLOCKS = 100, SIZE = 1000000 };
	char *block[BLOCKS];
	size_t before = t_rss();

	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = calloc(1, SIZE);
		T_CHECK(block[i] && !block[i][SIZE / 2]);
		block[i][SIZE / 2] = 1;
	}
	T_CHECKF(t_rss() - before < BLOCKS * (size_t)(128 << 10),
		 "%zu KiB for each block of which a byte is used",
		 (t_rss() - before) / BLOCKS >> 10);
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
}

/* Fresh and used pages side by side, in all sizes. */
static void zero_in_any_order(void)
{
	struct t_rng rng = { .state = t_seed() };
	enum { BLOCKS = 64 };
	char *block[BLOCKS] = { NULL };
	unsigned rounds = t_quick() ? 1000 : 5000;

	while (rounds--) {
		unsigned i = (unsigned)t_below(&rng, BLOCKS);
		size_t size = t_log_uniform(&rng, 64, 3 * T_MIB);

		free(block[i]);
		if (t_below(&rng, 2)) {
			block[i] = malloc(size);
		} else {
			block[i] = calloc(1, size);
			is_zero(block[i], size, "random sizes");
		}
		T_CHECK(block[i]);
		if (t_below(&rng, 4) == 0)
			block[i] = realloc(block[i], size = t_log_uniform(&rng, 64, 3 * T_MIB));
		memset(block[i], 0x77, size);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
}

/* Small blocks in each page of slabs in which larger ones were advised. */
static void beside_advised(void)
{
	enum { BLOCKS = 6000 };
	static char *block[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++) {
		size_t size = i % 100 ? 2048 : 4 * t_page();

		T_CHECK(!posix_memalign((void **)&block[i], i % 100 ? 64 : t_page(), size));
		if (i % 100 == 0)
			T_CHECK(!madvise(block[i], size, MADV_SEQUENTIAL));
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
}

/* Of a realloc() that finds no memory its block knows nothing. */
static int realloc_in_vain(void *arg)
{
	struct rlimit limit = { .rlim_cur = 500 * T_MIB, .rlim_max = 500 * T_MIB };
	char *volatile block = malloc(4 * T_MIB), *volatile larger;
	char *page = block + 2 * t_page() - (uintptr_t)block % t_page();

	(void)arg;
	T_CHECK(block && !setrlimit(RLIMIT_AS, &limit));
	memset(block, 7, 4 * T_MIB);
	T_CHECK(!mprotect(page, t_page(), PROT_READ));
	larger = realloc(block, 900 * T_MIB);
	T_CHECK(!larger);
	T_CHECK(t_is_byte(block, 4 * T_MIB, 7) && t_faults(page, true));
	free(block);
	return T_PASS;
}

static int all(void)
{
	t_fork_passes(realloc_in_vain, NULL);
	sparse();
	beside_advised();
	each_deed();
	many_times();
	children();
	pinned();
	zero_in_any_order();
	t_fork_passes(locked, NULL);
	return T_PASS;
}

static void start(const char *conf, const char *what)
{
	char *argv[] = { (char *)(uintptr_t) "hygiene", (char *)(uintptr_t)what, NULL };
	int status;
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (!pid)
		t_preload(argv, true, conf);
	T_CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == T_SKIP)
		exit(T_SKIP);
	T_CHECKF(WIFEXITED(status) && !WEXITSTATUS(status), "%s with %s: status %#x", what, conf,
		 status);
}

int main(int argc, char **argv)
{
	static const char *const confs[] = { "threshold:8K", "threshold:0", "preload_fork:copy",
					     "preload_fork:zero" };

	if (argc > 1)
		return strcmp(argv[1], "all") ? locked_by_user(NULL) : all();
	for (unsigned i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
		start(confs[i], "all");
		start(confs[i], "limit");
	}
	return T_PASS;
}
