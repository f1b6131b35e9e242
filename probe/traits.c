/* SPDX-License-Identifier: BSD-2-Clause */
#include "traits.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef PR_GET_MEMORY_MERGE
#define PR_GET_MEMORY_MERGE 68
#endif

static const struct probe_device no_device;

static const struct probe_memory read_base = PROBE_MAP("read", PROBE_CARE_READ);
static const struct probe_memory read_huge =
	PROBE_MAP("read, THP", PROBE_CARE_READ | PROBE_CARE_THP);
static const struct probe_memory huge = PROBE_MAP("THP", PROBE_CARE_THP | PROBE_CARE_WRITE);
static const struct probe_memory written = PROBE_MAP("written", PROBE_CARE_WRITE);
static const struct probe_memory written_hugetlb =
	PROBE_MAP("written, hugetlb", PROBE_CARE_WRITE | PROBE_CARE_HUGETLB);

static void answer(struct probe_trait *trait, const char *word)
{
	snprintf(trait->answer, sizeof(trait->answer), "%s", word);
}

__attribute__((format(printf, 2, 3))) static void unknown(struct probe_trait *trait,
							  const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(trait->why, sizeof(trait->why), format, arguments);
	va_end(arguments);
	answer(trait, "unknown");
}

/* What a system call that a kernel may not have says; its errno tells the two apart. */
static void answer_call(struct probe_trait *trait, bool worked)
{
	trait->error = worked ? 0 : errno;
	answer(trait, worked ? "yes" : "no");
}

/*
 * A pipe holds a reference to a page that was written. Every kernel leaves the page to the
 * process when nothing happens, and none does beside a living child. After mprotect() there
 * and back the page is copied where references count. When the child is gone the page is
 * copied where it was marked as not exclusive at the fork, and is not where only the
 * mappings that are left count.
 */
static void ask_cow_rule(struct probe_trait *trait)
{
	enum { CALM, BESIDE, AFTER, TRIP, PROBES };
	static const struct probe_hazard *const hazards[PROBES] = {
		[CALM] = &probe_no_fork,
		[BESIDE] = &probe_fork_lives,
		[AFTER] = &probe_fork_exits,
		[TRIP] = &probe_protect,
	};
	struct probe_outcome out;
	bool lost[PROBES];

	for (int i = 0; i < PROBES; i++) {
		lost[i] = probe_run(&probe_vmsplice, hazards[i], &written, &out) == PROBE_LOST;
		if (out.verdict == PROBE_SKIPPED || out.verdict == PROBE_BROKEN) {
			unknown(trait, "%s", out.reason);
			return;
		}
	}
	if (lost[CALM] || !lost[BESIDE])
		unknown(trait, "vmsplice(2) holds no pages here");
	else if (lost[TRIP])
		answer(trait, "reference-count");
	else
		answer(trait, lost[AFTER] ? "exclusive" : "map-count");
}

/*
 * A pipe takes a page that a living child shares. Most kernels give it that page, and the
 * process's next write goes to another; Linux 5.8, and 5.4 in its later versions, copy first,
 * as if the pipe would write (commit 17839856fd58).
 */
static void ask_read_copies(struct probe_trait *trait)
{
	struct probe_outcome out;

	switch (probe_run(&probe_vmsplice, &probe_written_fork, &read_base, &out)) {
	case PROBE_LOST:
		answer(trait, "no");
		break;
	case PROBE_COHERENT:
		answer(trait, "yes");
		break;
	default:
		unknown(trait, "%s", out.reason);
		break;
	}
}

/* "no": the first page is mapped by this process alone. */
static void answer_shared(struct probe_trait *trait, const struct probe_buffer *buffer)
{
	uint64_t entry;

	probe_pagemap(buffer->addr, &entry, 1);
	if (!PROBE_PRESENT(entry))
		unknown(trait, "/proc/self/pagemap does not show the page");
	else
		answer(trait, PROBE_EXCLUSIVE(entry) ? "no" : "yes");
}

static bool get(struct probe_trait *trait, const struct probe_memory *memory,
		struct probe_buffer *buffer)
{
	struct probe_outcome out;

	*buffer = (struct probe_buffer){ .length = PROBE_PAGES * probe_page() };
	if (!probe_buffer_get(memory, &no_device, buffer, &out))
		return true;
	unknown(trait, "%s", out.reason);
	return false;
}

/* A page that was only read. The shared zero page never counts as one process's alone. */
static void ask_zero_page(struct probe_trait *trait)
{
	struct probe_buffer buffer;

	if (!get(trait, &read_base, &buffer))
		return;
	answer_shared(trait, &buffer);
	read_base.put(read_base.context, &buffer);
}

/* Where the kernel does not say it to us, it may be so or not. */
static bool nobody_says(struct probe_trait *trait)
{
	if (!access("/sys/kernel/mm", F_OK))
		return false;
	unknown(trait, "/sys/kernel/mm: %s", strerror(errno));
	return true;
}

static bool thp_is_off(struct probe_trait *trait)
{
	char why[sizeof(trait->why)];

	if (nobody_says(trait))
		return true;
	if (!probe_thp_is_off(why, sizeof(why)))
		return false;
	unknown(trait, "%s", why);
	return true;
}

static void ask_huge_zero_page(struct probe_trait *trait)
{
	struct probe_buffer buffer;

	if (thp_is_off(trait) || !get(trait, &read_huge, &buffer))
		return;
	answer_shared(trait, &buffer);
	read_huge.put(read_huge.context, &buffer);
}

static void ask_zero_split(struct probe_trait *trait)
{
	struct probe_buffer buffer;
	struct probe_outcome out;

	if (thp_is_off(trait) || !get(trait, &huge, &buffer))
		return;
	if (probe_zero_split.strike(&buffer, &out))
		unknown(trait, "%s", out.reason);
	else
		answer_shared(trait, &buffer);
	huge.put(huge.context, &buffer);
}

/* Whether the page is still the parent's alone beside a child. */
static void look_beside_a_child(struct probe_trait *trait, const struct probe_buffer *buffer)
{
	struct probe_child child;
	uint64_t entry;

	switch (probe_child_fork(&child, NULL, 0)) {
	case -1:
		unknown(trait, "fork: %s", strerror(errno));
		return;
	case 0:
		probe_hear(child.fd);
		_exit(0);
	}
	probe_pagemap(buffer->addr, &entry, 1);
	probe_tell(child.fd, 0);
	probe_child_reap(&child);
	if (!PROBE_PRESENT(entry))
		unknown(trait, "/proc/self/pagemap does not show the page");
	else
		answer(trait, PROBE_EXCLUSIVE(entry) ? "yes" : "no");
}

/* While the engine holds the page. */
static void ask_fork(struct probe_trait *trait, const struct probe_engine *engine,
		     const struct probe_memory *memory)
{
	struct probe_buffer buffer = { .length = PROBE_PAGES * probe_page() };
	struct probe_device device;
	struct probe_outcome out;

	if (probe_device_open(&device, engine, &out)) {
		unknown(trait, "%s", out.reason);
	} else if (probe_buffer_get(memory, &device, &buffer, &out)) {
		unknown(trait, "%s", out.reason);
	} else {
		if (probe_device_pin(&device, &buffer, &out))
			unknown(trait, "%s", out.reason);
		else
			look_beside_a_child(trait, &buffer);
		probe_device_unpin(&device);
		memory->put(memory->context, &buffer);
	}
	probe_device_close(&device);
}

static void ask_pinned_fork(struct probe_trait *trait)
{
	ask_fork(trait, &probe_uring, &written);
}

static void ask_hugetlb_fork(struct probe_trait *trait)
{
	/* One for the memory, one for the child. */
	if (probe_free_hugetlb() < 2)
		unknown(trait, "there are no two free huge pages of 2 MiB");
	else
		ask_fork(trait, &probe_uring, &written_hugetlb);
}

static void ask_direct_pins(struct probe_trait *trait)
{
	ask_fork(trait, &probe_direct_write, &written);
}

static void ask_fuse_pins(struct probe_trait *trait)
{
	ask_fork(trait, &probe_fuse_write, &written);
}

static void ask_populate_write(struct probe_trait *trait)
{
	void *page = mmap(NULL, probe_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);

	if (page == MAP_FAILED) {
		unknown(trait, "mmap: %s", strerror(errno));
		return;
	}
	answer_call(trait, !madvise(page, probe_page(), MADV_POPULATE_WRITE));
	munmap(page, probe_page());
}

static void ask_soft_dirty(struct probe_trait *trait)
{
	int tracked = probe_soft_dirty();

	if (tracked < 0)
		unknown(trait, "/proc/self/pagemap does not show the page");
	else
		answer(trait, tracked ? "yes" : "no");
}

static void ask_io_uring(struct probe_trait *trait)
{
	struct io_uring_params parameters = { .flags = 0 };
	long fd = syscall(SYS_io_uring_setup, 1, &parameters);

	answer_call(trait, fd >= 0);
	if (fd >= 0)
		close((int)fd);
}

/* VmPin of this process in KiB, or -1. */
static long pinned_kib(void)
{
	char line[256];
	long kib = -1;
	FILE *status = fopen("/proc/self/status", "re");

	while (status && kib < 0 && fgets(line, sizeof(line), status))
		sscanf(line, "VmPin: %ld", &kib);
	if (status)
		fclose(status);
	return kib;
}

static void ask_uring_pins(struct probe_trait *trait)
{
	struct probe_buffer buffer = { .length = PROBE_PAGES * probe_page() };
	struct probe_device device;
	struct probe_outcome out;
	long before = pinned_kib();

	if (before < 0) {
		unknown(trait, "/proc/self/status does not say how many pages are pinned");
	} else if (probe_device_open(&device, &probe_uring, &out)) {
		unknown(trait, "%s", out.reason);
	} else if (probe_buffer_get(&written, &device, &buffer, &out)) {
		unknown(trait, "%s", out.reason);
	} else {
		if (probe_device_pin(&device, &buffer, &out))
			unknown(trait, "%s", out.reason);
		else
			answer(trait, pinned_kib() > before ? "yes" : "no");
		probe_device_unpin(&device);
		written.put(written.context, &buffer);
	}
	if (before >= 0)
		probe_device_close(&device);
}

static void ask_userfaultfd(struct probe_trait *trait)
{
	int fd = probe_userfaultfd();

	answer_call(trait, fd >= 0);
	if (fd >= 0)
		close(fd);
}

static void ask_ksm(struct probe_trait *trait)
{
	long run = probe_ksm("run");

	if (!nobody_says(trait))
		answer(trait, run < 0 ? "no" : run == 1 ? "yes" : "off");
}

static void ask_ksm_process(struct probe_trait *trait)
{
	answer_call(trait, prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0) >= 0);
}

static void ask_swap(struct probe_trait *trait)
{
	answer(trait, probe_has_swap() ? "yes" : "no");
}

static void ask_hugetlb(struct probe_trait *trait)
{
	if (!nobody_says(trait))
		answer(trait, probe_free_hugetlb() ? "yes" : "no");
}

static void ask_thp(struct probe_trait *trait)
{
	char path[96];

	if (nobody_says(trait))
		return;
	if (!probe_thp(trait->answer, sizeof(trait->answer), path, sizeof(path)))
		answer(trait, "no");
	else if (probe_thp_is_disabled())
		answer(trait, "off");
}

static const struct {
	const char *name;
	void (*ask)(struct probe_trait *trait);
	const char *meaning;
} questions[PROBE_TRAITS] = {
	[PROBE_COW_RULE] = { "cow-rule", ask_cow_rule,
			     "map-count, reference-count or exclusive: who gets the copy" },
	[PROBE_READ_COPIES] = { "read-copies", ask_read_copies,
				"who takes a page to read it gets the process a page of its own" },
	[PROBE_ZERO_PAGE] = { "zero-page", ask_zero_page,
			      "a read fault maps the shared zero page" },
	[PROBE_HUGE_ZERO_PAGE] = { "huge-zero-page", ask_huge_zero_page,
				   "a read fault maps the huge zero page where there may be one" },
	[PROBE_ZERO_SPLIT] = { "zero-split", ask_zero_split,
			       "a THP full of zeros becomes zero pages when it is split" },
	[PROBE_PINNED_FORK] = { "pinned-fork", ask_pinned_fork, "fork() copies pinned pages" },
	[PROBE_HUGETLB_FORK] = { "hugetlb-fork", ask_hugetlb_fork,
				 "fork() copies pinned hugetlb pages" },
	[PROBE_DIRECT_PINS] = { "direct-pins", ask_direct_pins,
				"fork() copies pages that O_DIRECT holds" },
	[PROBE_FUSE_PINS] = { "fuse-pins", ask_fuse_pins, "fork() copies pages that FUSE holds" },
	[PROBE_POPULATE_WRITE] = { "populate-write", ask_populate_write, "MADV_POPULATE_WRITE" },
	[PROBE_SOFT_DIRTY] = { "soft-dirty", ask_soft_dirty, "soft-dirty pages are tracked" },
	[PROBE_IO_URING] = { "io_uring", ask_io_uring, "there is io_uring, and it is permitted" },
	[PROBE_URING_PINS] = { "uring-pins", ask_uring_pins,
			       "what io_uring pins is counted (VmPin)" },
	[PROBE_USERFAULTFD] = { "userfaultfd", ask_userfaultfd,
				"there is userfaultfd, and it is permitted" },
	[PROBE_KSM] = { "ksm", ask_ksm, "equal pages are merged; off: they could be" },
	[PROBE_KSM_PROCESS] = { "ksm-process", ask_ksm_process,
				"a process may ask for that as a whole" },
	[PROBE_SWAP] = { "swap", ask_swap, "there is free swap" },
	[PROBE_HUGETLB] = { "hugetlb", ask_hugetlb, "there are free huge pages of 2 MiB" },
	[PROBE_THP] = { "thp", ask_thp,
			"always, madvise or never; off: for this process; no: not in this kernel" },
};

static _Noreturn void ask_all(struct probe_trait *trait, int words)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What is said meanwhile is in the answers, too. */
	dup2(words, STDERR_FILENO);
	/* What it may not do then is unknown. */
	probe_enter_namespaces();
	for (size_t i = 0; i < PROBE_TRAITS; i++) {
		trait[i].answer[0] = '\0';
		questions[i].ask(&trait[i]);
	}
	_exit(0);
}

/* Waits for the process that asks; what it has not answered is unknown. */
static void await(pid_t pid, struct probe_trait *trait)
{
	int status = 0, error = errno;

	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < PROBE_TRAITS; i++) {
		if (trait[i].answer[0])
			continue;
		if (pid < 0)
			unknown(&trait[i], "fork: %s", strerror(error));
		else
			unknown(&trait[i], "the process that asks ended with status %#x", status);
	}
}

static void fill_in(struct probe_trait *known)
{
	size_t size = PROBE_TRAITS * sizeof(*known);
	int words = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct probe_trait *shared =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	for (size_t i = 0; i < PROBE_TRAITS; i++)
		unknown(&known[i], "mmap: %s", strerror(errno));
	if (shared != MAP_FAILED) {
		pid = fork();
		if (!pid)
			ask_all(shared, words);
		await(pid, shared);
		memcpy(known, shared, size);
		munmap(shared, size);
	}
	for (size_t i = 0; i < PROBE_TRAITS; i++) {
		known[i].name = questions[i].name;
		known[i].meaning = questions[i].meaning;
	}
	if (words >= 0)
		close(words);
}

const struct probe_trait *probe_trait(enum probe_trait_id id)
{
	static struct probe_trait known[PROBE_TRAITS];

	if (!known[0].name)
		fill_in(known);
	return &known[id];
}

bool probe_trait_is(enum probe_trait_id id, const char *word)
{
	return !strcmp(probe_trait(id)->answer, word);
}
