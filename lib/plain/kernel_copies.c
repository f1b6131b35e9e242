/* SPDX-License-Identifier: BSD-2-Clause */
#include "plain/kernel_copies.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/kernel.h"
#include "base/page.h"
#include "plain/vmpin.h"

/* The preload has the one without underscores, which would look after the child. */
int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

#define STACK_BYTES ((size_t)64 << 10)
#define SIGNALS_BYTES 8

static int answer = RDM_COPIES_UNKNOWN;

/* A ring of one entry, which writes a byte of a pinned page to a file. */
struct device {
	int ring, file;
	struct io_uring_params params;
	char *queue, *page;
	size_t queue_bytes, page_bytes;
	struct io_uring_sqe *entry;
};

static void *map_ring(const struct device *device, size_t length, off_t what)
{
	return (void *)syscall(SYS_mmap, NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
			       device->ring, what);
}

static bool open_ring(struct device *device)
{
	const struct io_sqring_offsets *offset = &device->params.sq_off;

	device->file = (int)syscall(SYS_memfd_create, "rdmalloc", 1 /* MFD_CLOEXEC */);
	device->ring = (int)syscall(SYS_io_uring_setup, 1, &device->params);
	if (device->file < 0 || device->ring < 0)
		return false;
	device->queue_bytes = offset->array + device->params.sq_entries * sizeof(uint32_t);
	device->queue = map_ring(device, device->queue_bytes, IORING_OFF_SQ_RING);
	device->entry = map_ring(device, sizeof(*device->entry), (off_t)IORING_OFF_SQES);
	return device->queue != MAP_FAILED && (void *)device->entry != MAP_FAILED;
}

static bool pin_page(struct device *device)
{
	struct {
		void *base;
		size_t length;
	} buffer;

	device->page = rdm_kernel_map(NULL, device->page_bytes, PROT_READ | PROT_WRITE, 0);
	if (device->page == MAP_FAILED)
		return false;
	*device->page = 1;
	buffer.base = device->page;
	buffer.length = device->page_bytes;
	return !syscall(SYS_io_uring_register, device->ring, IORING_REGISTER_BUFFERS, &buffer, 1);
}

static uint32_t *in_queue(const struct device *device, uint32_t offset)
{
	return (uint32_t *)(void *)(device->queue + offset);
}

/* The byte that the device finds in the page, or -1. */
static int read_by_device(struct device *device)
{
	const struct io_sqring_offsets *offset = &device->params.sq_off;
	char byte = 0;

	memset(device->entry, 0, sizeof(*device->entry));
	device->entry->opcode = IORING_OP_WRITE_FIXED;
	device->entry->fd = device->file;
	device->entry->addr = (uintptr_t)device->page;
	device->entry->len = 1;
	*in_queue(device, offset->array) = 0;
	__atomic_store_n(in_queue(device, offset->tail), 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, device->ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1 ||
	    syscall(SYS_pread64, device->file, &byte, 1, 0) != 1)
		return -1;
	return byte;
}

static void close_device(const struct device *device)
{
	if (device->page && device->page != MAP_FAILED)
		rdm_kernel_unmap(device->page, device->page_bytes);
	if (device->queue && device->queue != MAP_FAILED)
		rdm_kernel_unmap(device->queue, device->queue_bytes);
	if (device->entry && (void *)device->entry != MAP_FAILED)
		rdm_kernel_unmap(device->entry, sizeof(*device->entry));
	if (device->ring >= 0)
		syscall(SYS_close, device->ring);
	if (device->file >= 0)
		syscall(SYS_close, device->file);
}

/* The child, which only lives. */
static int wait_for_end(void *arg)
{
	uint32_t *end = arg;

	syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	while (!__atomic_load_n(end, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, end, FUTEX_WAIT, 0, NULL, NULL, 0);
	return 0;
}

static void end_child(pid_t pid, uint32_t *end)
{
	__atomic_store_n(end, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, end, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (syscall(SYS_wait4, pid, NULL, __WALL, NULL) < 0 && errno == EINTR)
		;
}

/* Our own __clone() lets this child pass. No signal handler runs meanwhile. */
static __thread bool asks;

bool rdm_kernel_copies_asks(void)
{
	return asks;
}

/* The page is written while a child lives that was made after it was pinned. */
static enum rdm_kernel_copies ask_beside_child(struct device *device, uint32_t *end, char *stack)
{
	int byte = -1;
	pid_t pid;

	asks = true;
	pid = __clone(wait_for_end, stack + STACK_BYTES, CLONE_FILES | CLONE_FS, end);
	asks = false;
	if (pid <= 0)
		return RDM_COPIES_UNKNOWN;
	*device->page = 2;
	byte = read_by_device(device);
	end_child(pid, end);
	if (byte < 0)
		return RDM_COPIES_UNKNOWN;
	return byte == 2 ? RDM_COPIES_YES : RDM_COPIES_NO;
}

static enum rdm_kernel_copies ask_with(struct device *device)
{
	enum rdm_kernel_copies said = RDM_COPIES_UNKNOWN;
	char *stack = rdm_kernel_map(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, 0);
	uint32_t *end = (void *)syscall(SYS_mmap, NULL, device->page_bytes, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (stack != MAP_FAILED && (void *)end != MAP_FAILED && open_ring(device) &&
	    pin_page(device))
		said = ask_beside_child(device, end, stack);
	if (stack != MAP_FAILED)
		rdm_kernel_unmap(stack, STACK_BYTES);
	if ((void *)end != MAP_FAILED)
		rdm_kernel_unmap(end, device->page_bytes);
	return said;
}

enum rdm_kernel_copies rdm_kernel_copies_known(void)
{
	return (enum rdm_kernel_copies)__atomic_load_n(&answer, __ATOMIC_RELAXED);
}

enum rdm_kernel_copies rdm_kernel_copies_ask(void)
{
	struct device device = { .ring = -1, .file = -1, .page_bytes = rdm_page_size() };
	uint64_t all = UINT64_MAX, before = 0;
	int saved = errno;

	/* In a sandbox it would end the process. */
	if (rdm_kernel_copies_known() != RDM_COPIES_UNKNOWN || rdm_vmpin_is_closed())
		return rdm_kernel_copies_known();
	/* None of the program's handlers runs in the child. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNALS_BYTES);
	__atomic_store_n(&answer, ask_with(&device), __ATOMIC_RELAXED);
	close_device(&device);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNALS_BYTES);
	errno = saved;
	return rdm_kernel_copies_known();
}
