/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever advice a program gives on memory that it registered, also one that no kernel has yet,
 * the device and the program see the same bytes afterwards; and what is not registered gets
 * the advice.
 */
#include "start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probe.h"

/* A block, and how much of its middle is registered. */
#define SIZE T_MIB
#define MARGIN (SIZE / 4)

/* Linux's numbers. The two that break a page are none to be tried. */
enum {
	DONTNEED = 4,
	FREE = 8,
	DONTNEED_LOCKED = 24,
	HWPOISON = 100,
	SOFT_OFFLINE = 101,
	GUARD_INSTALL = 102,
	GUARD_REMOVE = 103,
	ADVICES = 128
};

typedef int advise(void *addr, size_t length, int advice);

static int by_process(void *addr, size_t length, int advice)
{
	struct iovec iov[2] = { { addr, length / 2 }, { (char *)addr + length / 2, length / 2 } };
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	ssize_t done;

	if (fd < 0)
		return -1;
	done = process_madvise(fd, iov, 2, advice, 0);
	close(fd);
	return done == (ssize_t)length ? 0 : -1;
}

struct scene {
	unsigned char *block;
	struct probe_buffer buffer;
	struct probe_device device;
};

static void begin(struct scene *scene)
{
	struct probe_outcome out = { .verdict = PROBE_BROKEN };
	void *block;

	*scene = (struct scene){ .block = NULL };
	T_CHECK(!posix_memalign(&block, t_page(), SIZE));
	scene->block = block;
	memset(block, 'x', SIZE);
	scene->buffer.addr = scene->block + MARGIN;
	scene->buffer.length = scene->buffer.extent = SIZE - 2 * MARGIN;
	t_dontfork(scene->buffer.addr, scene->buffer.length);
	if (probe_device_open(&scene->device, &probe_uring, &out) ||
	    probe_device_pin(&scene->device, &scene->buffer, &out))
		t_skip("%s", out.reason);
}

static void end(struct scene *scene, const char *how, int advice)
{
	struct probe_outcome out = { .verdict = PROBE_BROKEN };

	T_CHECK(!probe_device_check(&scene->device, &scene->buffer, &out));
	T_CHECKF(!out.device_stale && !out.cpu_stale,
		 "after %s() with %d the device and the program see different bytes", how, advice);
	probe_device_unpin(&scene->device);
	probe_device_close(&scene->device);
	t_dofork(scene->buffer.addr, scene->buffer.length);
	free(scene->block);
}

static void coherent_after(advise *call, const char *how, int advice)
{
	struct scene scene;

	begin(&scene);
	call(scene.block, SIZE, advice);
	/* Else it would be SIGSEGV where it is not registered. */
	madvise(scene.block, SIZE, GUARD_REMOVE);
	end(&scene, how, advice);
}

/* What is registered reads as zero; the rest is zero, too, because it is gone. */
static void reaches_the_rest(advise *call, const char *how, int advice)
{
	struct scene scene;
	int error;

	begin(&scene);
	error = call(scene.block, SIZE, advice) ? errno : 0;
	T_CHECKF(!error || error == EINVAL, "%s() with %d: %s", how, advice, strerror(error));
	if (!error)
		T_CHECKF(t_is_byte(scene.block, SIZE, 0), "%s() with %d leaves zeros", how, advice);
	end(&scene, how, advice);
}

/* Guards would have to be where the device writes; so they are nowhere. */
static void is_refused(advise *call, const char *how, int advice)
{
	struct scene scene;

	begin(&scene);
	errno = 0;
	T_CHECKF(call(scene.block, SIZE, advice) == -1 && errno == EINVAL,
		 "%s() with %d is refused", how, advice);
	T_CHECKF(t_is_byte(scene.block, SIZE, 'x'), "%s() with %d does nothing", how, advice);
	end(&scene, how, advice);
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, "threshold:0");
	for (int advice = 0; advice < ADVICES; advice++) {
		if (advice == HWPOISON || advice == SOFT_OFFLINE)
			continue;
		coherent_after(madvise, "madvise", advice);
		coherent_after(by_process, "process_madvise", advice);
	}
	reaches_the_rest(madvise, "madvise", DONTNEED);
	reaches_the_rest(madvise, "madvise", DONTNEED_LOCKED);
	is_refused(madvise, "madvise", GUARD_INSTALL);
	is_refused(madvise, "madvise", ADVICES);
	is_refused(madvise, "madvise", -1);
	return T_PASS;
}
