/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/contract.h"
#include "base/kernel.h"
#include "base/log.h"
#include "pool/picture.h"
#include "rdmalloc.h"
#include "sync/cancel.h"
#include "sync/quiesce.h"
#include "sync/workers.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

#define STACK ((size_t)64 << 10)
#define SECOND UINT64_C(1000000000)
/* It sleeps so many times as long as it works. */
#define REST 50
/* Where programs have no descriptors. */
#define DESCRIPTOR 500

_Atomic bool rdm_publish_due;

/* Under the quiesce lock, or the thread's own. */
static bool started;
static struct rdm_picture *picture;
static struct {
	char *map; /* NULL: there is none */
	size_t used;
	int fd;
	dev_t dev;
	ino_t ino;
} memfd;

/* Programs close descriptors that they do not know, and get the number for something else. */
static bool memfd_is_open(void)
{
	struct stat info;

	return memfd.map && !fstat(memfd.fd, &info) && info.st_dev == memfd.dev &&
	       info.st_ino == memfd.ino;
}

/* Field 22 of /proc/self/stat; 0: it cannot be read. */
static uint64_t read_start(void)
{
	char text[1024];
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	const char *field;

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	/* The second field may have blanks and parentheses. */
	field = strrchr(text, ')');
	for (unsigned i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field, NULL, 10) : 0;
}

static int make_memfd(void)
{
	int fd = memfd_create(RDM_PICTURE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, DESCRIPTOR) : -1;

	if (high >= 0) {
		close(fd);
		fd = high;
	}
	return fd;
}

/* Nobody else writes to it, and it stays as long as it is. */
static void seal(int fd)
{
	(void)!fchmod(fd, S_IRUSR);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	/* Linux 5.1 */
	fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
}

/* NULL with errno. */
static char *map_memfd(int fd)
{
	void *map = mmap(NULL, sizeof(*picture), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return NULL;
	if (!madvise(map, sizeof(*picture), MADV_DONTFORK))
		return map;
	munmap(map, sizeof(*picture));
	return NULL;
}

/* 0 or an errno value. */
static int open_memfd(void)
{
	struct stat info = { .st_size = 0 };
	int fd = make_memfd();

	rdm_assert(rdm_quiesce_is_held());
	memfd.used = 0;
	if (fd >= 0 && !ftruncate(fd, sizeof(*picture)) && !fstat(fd, &info))
		memfd.map = map_memfd(fd);
	if (!memfd.map) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return error;
	}
	seal(fd);
	memfd.fd = fd;
	memfd.dev = info.st_dev;
	memfd.ino = info.st_ino;
	return 0;
}

static void close_memfd(void)
{
	rdm_assert(rdm_quiesce_is_held());
	if (memfd.map)
		munmap(memfd.map, sizeof(*picture));
	memfd.map = NULL;
}

/* A memfd, and a picture to draw on. fork() waits, so that a child knows what there is. */
static int open_all(void)
{
	int error = 0;

	rdm_quiesce_enter("statistics");
	if (!memfd_is_open()) {
		close_memfd();
		error = open_memfd();
	}
	if (!error && !picture) {
		void *map = rdm_kernel_map(NULL, sizeof(*picture), PROT_READ | PROT_WRITE,
					   MAP_NORESERVE);

		if (map == MAP_FAILED)
			error = errno;
		else
			picture = map;
	}
	rdm_quiesce_leave(0);
	return error;
}

static size_t picture_bytes(const struct rdm_picture_header *header)
{
	return sizeof(*header) + header->pools * sizeof(picture->pools[0]) +
	       header->slabs * sizeof(picture->slabs[0]) +
	       header->cells * sizeof(picture->cells[0]);
}

static char *append(char *to, const void *from, size_t bytes)
{
	rdm_assert(to && from);
	memcpy(to, from, bytes);
	return to + bytes;
}

static void write_picture(void)
{
	struct rdm_picture_header *header = &picture->header;
	struct rdm_picture_header *there = (struct rdm_picture_header *)(void *)memfd.map;
	char *to = memfd.map + sizeof(*header);

	rdm_assert(memfd.map);
	rdm_assert(header->bytes <= memfd.used);
	header->sequence++;
	__atomic_store_n(&there->sequence, header->sequence, __ATOMIC_RELAXED);
	__sync_synchronize();
	to = append(to, picture->pools, header->pools * sizeof(picture->pools[0]));
	to = append(to, picture->slabs, header->slabs * sizeof(picture->slabs[0]));
	append(to, picture->cells, header->cells * sizeof(picture->cells[0]));
	*there = *header;
	header->sequence++;
	__atomic_store_n(&there->sequence, header->sequence, __ATOMIC_RELEASE);
}

/* Memory that is not there would be SIGBUS. 0 or errno; EBADF: the memfd must be made anew. */
static int make_room(size_t bytes)
{
	int error;

	if (bytes <= memfd.used)
		return 0;
	if (!memfd_is_open())
		return EBADF;
	error = posix_fallocate(memfd.fd, 0, (off_t)bytes);
	if (!error)
		memfd.used = bytes;
	return error;
}

static void sign(struct rdm_picture_header *header, uint64_t start)
{
	rdm_assert(start);
	header->magic = RDM_PICTURE_MAGIC;
	header->version = RDM_PICTURE_VERSION;
#ifdef RDM_PRELOAD
	header->flags = RDM_PICTURE_PRELOAD;
#endif
	header->pid = (uint64_t)getpid();
	header->start = start;
	header->bytes = picture_bytes(header);
	strncpy(header->library, rdm_version(), sizeof(header->library) - 1);
	header->time_ns = rdm_clock_time_ns();
}

/* What this thread has cost so far. */
static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* 0 or an errno value. */
static int publish(uint64_t start)
{
	uint64_t began = cpu_ns();
	struct rdm_picture_header *header;
	int error = open_all();

	if (error)
		return error;
	header = &picture->header;
	rdm_picture_draw(picture);
	header->took_ns = cpu_ns() - began;
	header->interval_ns = header->took_ns * REST > SECOND ? header->took_ns * REST : SECOND;
	sign(header, start);
	error = make_room(header->bytes);
	if (!error)
		write_picture();
	return error == EBADF ? 0 : error;
}

static void *run(void *arg)
{
	uint64_t start = read_start();
	int error = start ? 0 : EACCES;

	(void)arg;
	pthread_setname_np(pthread_self(), RDM_PICTURE_NAME);
	rdm_cancel_off();
	while (!error && !(error = publish(start))) {
		uint64_t pause = picture->header.interval_ns;
		struct timespec rest = { .tv_sec = (time_t)(pause / SECOND),
					 .tv_nsec = (long)(pause % SECOND) };

		nanosleep(&rest, NULL);
	}
	rdm_log(RDM_LOG_WARN, "publish: %s: statistics are not published %s",
		start ? "no memory or descriptor for them" : "/proc/self/stat cannot be read",
		strerror(error));
	return NULL;
}

void rdm_publish_start(void)
{
	int error;

	rdm_assert(rdm_quiesce_is_held());
	atomic_store(&rdm_publish_due, false);
	if (started || !rdm_conf()->publish)
		return;
	started = true;
	error = rdm_workers_detached(run, STACK);
	if (error)
		rdm_log(RDM_LOG_WARN,
			"publish: no thread for it (%s): statistics are not published",
			strerror(error));
}

void rdm_publish_resume(void)
{
	if (rdm_quiesce_is_inside() || !atomic_exchange(&rdm_publish_due, false))
		return;
	rdm_quiesce_enter("statistics");
	rdm_publish_start();
	rdm_quiesce_leave(0);
}

void rdm_publish_postfork_child(void)
{
	if (!started)
		return;
	if (memfd_is_open())
		close(memfd.fd);
	memfd.map = NULL;
	started = false;
	atomic_store(&rdm_publish_due, true);
}
