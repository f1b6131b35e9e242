/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins that somebody announced are known wherever they lie, so that fork() has nothing to say
 * and nothing to copy; and ranges that were announced and are not pinned hide no stranger's pins.
 */
#include "start.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static unsigned char global[2 << 16] __attribute__((aligned(1 << 16)));

/* The device has more than is announced by so much. */
struct place {
	unsigned char *addr;
	size_t announced, pinned;
};

static void pin(struct probe_device *device, struct probe_buffer *buffer)
{
	struct probe_outcome out = { .verdict = PROBE_BROKEN };

	if (probe_device_open(device, &probe_uring, &out) || probe_device_pin(device, buffer, &out))
		t_skip("%s", out.reason);
}

static void fork_once(void)
{
	pid_t pid = fork();
	int status;

	T_CHECK(pid >= 0);
	if (!pid)
		_exit(0);
	T_CHECK(waitpid(pid, &status, 0) == pid && !status);
}

static int fork_with(void *arg)
{
	const struct place *place = arg;
	struct probe_buffer buffer = { .addr = place->addr,
				       .length = place->pinned,
				       .extent = place->pinned };
	struct probe_device device;
	void *block = malloc(T_MIB);

	T_CHECK(block);
	memset(block, 1, T_MIB);
	if (place->announced)
		t_dontfork(place->addr, place->announced);
	if (place->pinned)
		pin(&device, &buffer);
	fork_once();
	if (place->pinned) {
		probe_device_unpin(&device);
		probe_device_close(&device);
	}
	if (place->announced)
		t_dofork(place->addr, place->announced);
	free(block);
	return T_PASS;
}

static void says_nothing(const char *where, void *addr, size_t announced, size_t pinned)
{
	struct place place = { addr, announced, pinned };
	struct t_caught caught;

	memset(addr, 1, announced);
	t_catch(&caught, fork_with, &place);
	if (caught.status == T_SKIP << 8)
		t_skip("%s", caught.err);
	T_CHECKF(!caught.status && !caught.len, "%s, %zu bytes announced, %zu pinned: %s", where,
		 announced, pinned, caught.err);
}

static void is_known_in(const char *where, void *addr)
{
	says_nothing(where, addr, t_page(), t_page());
	says_nothing(where, addr, 1, t_page());
	/* The driver has made its queue, and not pinned it yet, or ended it. */
	says_nothing(where, addr, t_page(), 0);
}

static void is_unknown(size_t announced, size_t pinned)
{
	struct place place = { global, announced, pinned };
	struct t_caught caught;

	t_catch(&caught, fork_with, &place);
	T_CHECKF(caught.status == T_PASS << 8, "%s", caught.err);
	t_caught_line(&caught, "pages are pinned", "for the child");
}

int main(int argc, char **argv)
{
	unsigned char on_stack[3 << 16];
	size_t page = t_page();
	void *map, *small, *large;

	(void)argc;
	t_preload(argv, false, NULL);
	map = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	T_CHECK(map != MAP_FAILED);
	T_CHECK(!posix_memalign(&small, page, page < 8192 ? page : 4096));
	T_CHECK(!posix_memalign(&large, page, T_MIB));
	is_known_in("a global", global);
	is_known_in("a stack", (void *)(((uintptr_t)on_stack + page) & -page));
	is_known_in("what mmap() gave", map);
	if (page < 8192)
		is_known_in("a small block", small);
	is_known_in("a large block", large);
	is_unknown(0, page);
	is_unknown(page, 2 * page);
	/* One page of two that were announced as one, so that it is none of them. */
	is_unknown(2 * page, page);
	return T_PASS;
}
