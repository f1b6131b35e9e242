/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Something pins memory without anybody telling the preload (io_uring). fork() notices by
 * what the kernel counts, says so, and no byte is lost: the kernel copies what is pinned for
 * the child, or else all large blocks are copied.
 * Nor is one when a block is freed or moved and its addresses are used again: who keeps them
 * registered, as a registration cache does, finds the pages that are there.
 */
#include "start.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "probe.h"
#include "traits.h"

/* More than the magazines and the depot hold back. */
enum { BLOCKS = 16, MANY = 600 };
#define SIZE ((size_t)8 * T_MIB)

static void *blocks[BLOCKS];

static void is_coherent(const struct probe_outcome *out)
{
	if (out->verdict == PROBE_SKIPPED)
		t_skip("%s", out->reason);
	T_CHECKF(out->verdict == PROBE_COHERENT, "%s %s", probe_verdict_name(out->verdict),
		 out->reason);
}

static int strike(void *arg)
{
	struct probe_outcome *out = arg;

	probe_run(&probe_uring, &probe_fork_lives, &probe_malloc_written, out);
	is_coherent(out);
	return T_PASS;
}

static void allocate(void *(*get)(size_t size))
{
	for (unsigned i = 0; i < BLOCKS; i++)
		T_CHECK((blocks[i] = get(SIZE)));
}

static void free_all(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

static void *zeroed(size_t size)
{
	return calloc(1, size);
}

static bool is_there(const void *addr)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (blocks[i] == addr)
			return true;
	return false;
}

static void be_freed(void)
{
	free_all();
	allocate(malloc);
}

static void be_zeroed(void)
{
	free_all();
	allocate(zeroed);
}

static void be_moved(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		T_CHECK((blocks[i] = realloc(blocks[i], 4 * SIZE)));
	free_all();
	allocate(malloc);
}

/* The kernel's count cannot be read then. */
static void be_freed_without_descriptors(void)
{
	struct rlimit limit, none = { 0, 0 };

	T_CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
	none.rlim_max = limit.rlim_max;
	T_CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	free_all();
	T_CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	allocate(malloc);
}

/* Then it comes late in a long file; only root may have so many. */
static void be_freed_in_many_groups(void)
{
	static gid_t before[MANY], many[MANY];
	int n = getgroups(MANY, before);

	for (unsigned i = 0; i < MANY; i++)
		many[i] = 1612000000 + (gid_t)i;
	T_CHECK(n >= 0);
	if (setgroups(MANY, many))
		n = -1;
	be_freed();
	T_CHECK(n < 0 || !setgroups((size_t)n, before));
}

/* A block that was pinned is in use again at the same address. */
static void coherent_after(void (*reuse)(void))
{
	struct probe_outcome out = { .verdict = PROBE_BROKEN };
	struct probe_buffer buffer = { .length = SIZE, .extent = SIZE };
	struct probe_device device;

	allocate(malloc);
	buffer.addr = blocks[BLOCKS / 2];
	memset(buffer.addr, 1, SIZE);
	if (!probe_device_open(&device, &probe_uring, &out) &&
	    !probe_device_pin(&device, &buffer, &out)) {
		reuse();
		T_CHECKF(is_there(buffer.addr), "nobody got %p again", (void *)buffer.addr);
		if (!probe_device_check(&device, &buffer, &out))
			out.verdict =
				out.device_stale + out.cpu_stale ? PROBE_LOST : PROBE_COHERENT;
	}
	is_coherent(&out);
	probe_device_unpin(&device);
	probe_device_close(&device);
	free_all();
}

static void coherent_beside_child(const char *how)
{
	struct probe_outcome out;
	struct t_caught caught;

	t_catch(&caught, strike, &out);
	if (caught.status == T_SKIP << 8)
		t_skip("%s", caught.err);
	t_caught_line(&caught, "pinned", how);
}

/* How this process leaves them to the kernel is decided once. */
static bool leaves_them(void)
{
	const char *dropped = getenv("RDMALLOC_ABLATE");

	return (!dropped || strcmp(dropped, "leave")) && probe_trait_is(PROBE_PINNED_FORK, "yes");
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, true, "magazine:0");
	coherent_beside_child(leaves_them() ? "the kernel copies them for the child" :
					      "are copied for the child");
	coherent_after(be_freed);
	coherent_after(be_zeroed);
	coherent_after(be_moved);
	coherent_after(be_freed_without_descriptors);
	coherent_after(be_freed_in_many_groups);
	/* Once more, as on a kernel that does not copy them. */
	if (leaves_them() && !getenv("RDMALLOC_ABLATE")) {
		T_CHECK(!setenv("RDMALLOC_ABLATE", "leave", 1));
		execv("/proc/self/exe", argv);
		T_CHECKF(0, "execv: %s", strerror(errno));
	}
	return T_PASS;
}
