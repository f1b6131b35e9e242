/* SPDX-License-Identifier: BSD-2-Clause */
#include "published.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "output.h"
#include "proc.h"

/* How the kernel shows a memfd. */
#define LINK "/memfd:" RDM_PICTURE_NAME " (deleted)"
/* A page is being written for some microseconds, unless its process was stopped. */
#define TRY_NS 1000000L
#define PATIENCE_NS 200000000L
/* A process has one of each of its libraries. */
#define PAGES_MAX 16
/* The longest picture. */
#define BYTES_MAX                                                                                  \
	(sizeof(struct rdm_picture_header) + RDM_PICTURE_POOLS * sizeof(struct rdm_picture_pool) + \
	 RDM_PICTURE_SLABS * sizeof(struct rdm_picture_slab) +                                     \
	 RDM_PICTURE_CELLS * sizeof(struct rdm_picture_cell))

/* What /proc says of a process. */
struct identity {
	bool ended; /* a zombie */
	uid_t user, owner;
	uint64_t start;
	uint64_t own_pid; /* as it sees itself, in its namespace */
};

__attribute__((format(printf, 3, 4))) static enum heap_error
fail(struct heap *heap, enum heap_error error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(heap->problem, sizeof(heap->problem), format, args);
	va_end(args);
	return error;
}

static bool read_file(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, text, size - 1);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return length > 0;
}

static void read_stat(char *text, struct identity *identity)
{
	const char *field = strrchr(text, ')');

	if (!field || field[1] != ' ')
		return;
	identity->ended = field[2] == 'Z' || field[2] == 'X';
	for (unsigned i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	identity->start = field ? strtoull(field, NULL, 10) : 0;
}

static void read_status(void *into, const char *line)
{
	struct identity *identity = into;

	if (!strncmp(line, "Uid:", 4))
		identity->user = (uid_t)strtoul(line + 4, NULL, 10);
	/* The last number is that of the innermost namespace. */
	else if (!strncmp(line, "NSpid:", 6))
		identity->own_pid =
			strtoull(strrchr(line, '\t') ? strrchr(line, '\t') : line + 6, NULL, 10);
}

static bool identify(pid_t pid, struct identity *identity)
{
	struct stat info;
	char text[1024];

	*identity = (struct identity){ .own_pid = (uint64_t)pid };
	snprintf(text, sizeof(text), "/proc/%d", (int)pid);
	if (stat(text, &info) || !read_file(pid, "stat", text, sizeof(text)))
		return false;
	identity->user = identity->owner = info.st_uid;
	read_stat(text, identity);
	proc_each_line(pid, "status", '\n', read_status, identity);
	return true;
}

static enum heap_error deny(struct heap *heap, const struct identity *identity)
{
	const struct passwd *user = getpwuid(identity->user);
	char number[16];

	if (identity->user == geteuid())
		return fail(heap, HEAP_DENIED,
			    "process %d may be looked at by root only: it has changed its "
			    "privileges, see PR_SET_DUMPABLE in prctl(2)",
			    (int)heap->pid);
	snprintf(number, sizeof(number), "%u", (unsigned)identity->user);
	return fail(
		heap, HEAP_DENIED,
		"process %d belongs to another user, %s: only that user and root can look at it",
		(int)heap->pid, user ? user->pw_name : number);
}

/* Where all memfds of the kernel's are. */
static bool find_memfds(struct stat *info)
{
	int fd = memfd_create(RDM_PICTURE_NAME, MFD_CLOEXEC);
	bool found = fd >= 0 && !fstat(fd, info);

	if (fd >= 0)
		close(fd);
	return found;
}

/*
 * A name says little: it may be a file of that name in a file system of the process's own, which
 * would be asked to open it, and need never answer. So it is looked at without a question first.
 */
static bool is_memfd(int path)
{
	struct stat ours;
	struct statx info;

	return find_memfds(&ours) &&
	       !statx(path, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &info) &&
	       S_ISREG(info.stx_mode) && info.stx_dev_major == major(ours.st_dev) &&
	       info.stx_dev_minor == minor(ours.st_dev);
}

static int open_page(int dir, const char *name)
{
	int path = openat(dir, name, O_PATH | O_CLOEXEC);
	char again[64];
	int fd = -1;

	if (path < 0)
		return -1;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", path);
	if (is_memfd(path))
		fd = open(again, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	close(path);
	return fd;
}

/* How far there was something, of [from, end). */
static size_t read_some(int fd, void *to, size_t from, size_t end)
{
	size_t done = from;

	while (done < end) {
		ssize_t got = pread(fd, (char *)to + done, end - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

static enum heap_error check_header(struct heap *heap, const struct rdm_picture_header *header,
				    size_t bytes)
{
	int pid = (int)heap->pid;

	if (bytes < offsetof(struct rdm_picture_header, flags) ||
	    header->magic != RDM_PICTURE_MAGIC)
		return fail(heap, HEAP_CUT,
			    "the statistics page of process %d is cut short or none: it has %zu "
			    "bytes",
			    pid, bytes);
	if (header->version != RDM_PICTURE_VERSION)
		return fail(
			heap, HEAP_VERSION,
			"the statistics page of process %d has layout version %u, and this "
			"rdmalloc reads version %u: use the rdmalloc that came with its library",
			pid, header->version, RDM_PICTURE_VERSION);
	if (bytes < sizeof(*header) || header->bytes > bytes)
		return fail(heap, HEAP_CUT,
			    "the statistics page of process %d is cut short: it has %zu bytes of "
			    "%" PRIu64,
			    pid, bytes,
			    bytes < sizeof(*header) ? (uint64_t)sizeof(*header) : header->bytes);
	return HEAP_READ;
}

/* Whether what the header counts is what there is. */
static bool adds_up(const struct rdm_picture_header *header)
{
	return header->pools <= RDM_PICTURE_POOLS && header->slabs <= RDM_PICTURE_SLABS &&
	       header->cells <= RDM_PICTURE_CELLS && header->cell_shift >= 16 &&
	       header->cell_shift <= 21 &&
	       header->bytes == sizeof(*header) + header->pools * sizeof(struct rdm_picture_pool) +
					header->slabs * sizeof(struct rdm_picture_slab) +
					header->cells * sizeof(struct rdm_picture_cell);
}

static enum heap_error check_owner(struct heap *heap, const struct rdm_picture_header *header,
				   const struct identity *identity)
{
	if (header->pid != identity->own_pid)
		return fail(heap, HEAP_STRANGER,
			    "process %d publishes no statistics: those that it has open are of "
			    "process %" PRIu64,
			    (int)heap->pid, header->pid);
	if (header->start != identity->start)
		return fail(heap, HEAP_STRANGER,
			    "process %d publishes no statistics: those that it has open are of a "
			    "process that had this number before",
			    (int)heap->pid);
	return HEAP_READ;
}

/* Whether it is whole: nobody has begun to write it anew since. */
static bool is_whole(int fd, const struct rdm_picture_header *copy)
{
	struct rdm_picture_header now;

	__sync_synchronize();
	return !(copy->sequence % 2) && read_some(fd, &now, 0, sizeof(now)) == sizeof(now) &&
	       now.sequence == copy->sequence;
}

/*
 * Whatever is in the file may change at any time, or shrink. So it is copied once, the copy is
 * checked, and nothing but the copy is used.
 */
static enum heap_error judge(struct heap *heap, int fd, const struct rdm_picture_header *copy,
			     size_t bytes, const struct identity *identity)
{
	enum heap_error error;

	/* Made, and not written to yet. */
	if (bytes >= sizeof(*copy) && !copy->magic)
		return HEAP_BUSY;
	error = check_header(heap, copy, bytes);
	if (error)
		return error;
	if (!is_whole(fd, copy))
		return HEAP_BUSY;
	error = check_owner(heap, copy, identity);
	if (!error && !adds_up(copy))
		error = fail(heap, HEAP_CUT,
			     "the statistics page of process %d is damaged: its numbers do not add "
			     "up",
			     (int)heap->pid);
	return error;
}

/* As much of it as it says that there is; bytes. */
static size_t copy_page(int fd, struct rdm_picture_header *copy)
{
	size_t got = read_some(fd, copy, 0, sizeof(*copy));
	size_t end = got == sizeof(*copy) && copy->bytes < BYTES_MAX ? copy->bytes : BYTES_MAX;

	return got < sizeof(*copy) ? got : read_some(fd, copy, got, end);
}

static enum heap_error read_page(struct heap *heap, int fd, const struct identity *identity,
				 struct heap_patience *patience)
{
	struct rdm_picture_header *copy = malloc(BYTES_MAX);
	const struct timespec moment = { .tv_nsec = TRY_NS };
	enum heap_error error;

	if (!copy)
		return fail(heap, HEAP_CUT, "no memory for the statistics page of process %d",
			    (int)heap->pid);
	for (;;) {
		error = judge(heap, fd, copy, copy_page(fd, copy), identity);
		if (error != HEAP_BUSY || patience->left_ns < TRY_NS)
			break;
		patience->left_ns -= TRY_NS;
		nanosleep(&moment, NULL);
	}
	if (!error) {
		heap->header = copy;
		return HEAP_READ;
	}
	free(copy);
	if (error == HEAP_BUSY)
		fail(heap, HEAP_BUSY,
		     "the statistics page of process %d is only half written: the process is "
		     "stopped, or has just begun",
		     (int)heap->pid);
	return error;
}

/* Of a program that has both libraries, the one that it is linked with counts. */
static bool is_better(const struct heap *found, const struct heap *heap)
{
	return !heap->header || !(found->header->flags & RDM_PICTURE_PRELOAD);
}

/* A page that is fine; else what is wrong with one, rather than that there is none. */
static enum heap_error try_page(struct heap *heap, int fd, const struct identity *identity,
				struct heap_patience *patience, enum heap_error error)
{
	struct heap found = *heap;
	enum heap_error here;

	found.header = NULL;
	here = read_page(&found, fd, identity, patience);
	if (here && heap->header)
		return error;
	if (!here && !is_better(&found, heap)) {
		heap_free(&found);
		return error;
	}
	heap_free(heap);
	*heap = found;
	return here;
}

static enum heap_error search(struct heap *heap, DIR *dir, const struct identity *identity,
			      struct heap_patience *patience)
{
	enum heap_error error =
		fail(heap, HEAP_ABSENT,
		     "process %d publishes no statistics: it has to be started with "
		     "RDMALLOC_CONF=publish:true",
		     (int)heap->pid);
	const struct dirent *entry;
	unsigned pages = 0;

	while (pages < PAGES_MAX && (entry = readdir(dir))) {
		char target[sizeof(LINK) + 1];
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));
		int fd;

		if (length != (ssize_t)strlen(LINK) || memcmp(target, LINK, strlen(LINK)) != 0)
			continue;
		fd = open_page(dirfd(dir), entry->d_name);
		if (fd < 0)
			continue;
		error = try_page(heap, fd, identity, patience, error);
		close(fd);
		pages++;
	}
	return error;
}

static void end_texts(struct heap *heap)
{
	struct rdm_picture_pool *pools = (struct rdm_picture_pool *)(heap->header + 1);

	clean_text(heap->header->library, sizeof(heap->header->library));
	for (uint32_t i = 0; i < heap->header->pools; i++) {
		clean_text(pools[i].name, sizeof(pools[i].name));
		for (unsigned r = 0; r < RDM_PICTURE_RAILS; r++)
			clean_text(pools[i].rail_names[r], sizeof(pools[i].rail_names[r]));
	}
}

/* Leaves out slabs that are none: each has the cells after those of the one before it. */
static void arrange(struct heap *heap)
{
	struct rdm_picture_header *header = heap->header;
	struct rdm_picture_slab *slabs;
	uint32_t kept = 0, next_cell = 0;

	heap->pools = (const struct rdm_picture_pool *)(header + 1);
	slabs = (struct rdm_picture_slab *)(uintptr_t)(heap->pools + header->pools);
	heap->slabs = slabs;
	heap->cells = (const struct rdm_picture_cell *)(slabs + header->slabs);
	for (uint32_t i = 0; i < header->slabs; i++) {
		uint64_t cells = slabs[i].length >> header->cell_shift;

		if (slabs[i].pool >= header->pools || slabs[i].first_cell < next_cell ||
		    slabs[i].first_cell > header->cells || !cells ||
		    cells > header->cells - slabs[i].first_cell)
			continue;
		next_cell = slabs[i].first_cell + (uint32_t)cells;
		slabs[kept++] = slabs[i];
	}
	header->slabs = kept;
	end_texts(heap);
}

void heap_be_patient(struct heap_patience *patience)
{
	patience->left_ns = PATIENCE_NS;
}

enum heap_error heap_read(struct heap *heap, pid_t pid, struct heap_patience *patience)
{
	struct identity identity;
	enum heap_error error;
	char path[64];
	DIR *dir;

	*heap = (struct heap){ .pid = pid };
	if (!identify(pid, &identity))
		return fail(heap, HEAP_DEAD, "there is no process %d", (int)pid);
	heap->user = identity.user;
	if (identity.ended)
		return fail(heap, HEAP_DEAD, "process %d has ended", (int)pid);
	if (read_file(pid, "comm", heap->program, sizeof(heap->program)))
		heap->program[strcspn(heap->program, "\n")] = '\0';
	clean_text(heap->program, sizeof(heap->program));
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return errno == EACCES ? deny(heap, &identity) :
					 fail(heap, HEAP_DEAD, "there is no process %d", (int)pid);
	error = search(heap, dir, &identity, patience);
	closedir(dir);
	if (error)
		return error;
	arrange(heap);
	return HEAP_READ;
}

bool heap_read_or_say(struct heap *heap, pid_t pid)
{
	struct heap_patience patience;

	heap_be_patient(&patience);
	if (heap_read(heap, pid, &patience) == HEAP_READ)
		return true;
	fprintf(stderr, "rdmalloc: %s\n", heap->problem);
	return false;
}

void heap_free(struct heap *heap)
{
	free(heap->header);
	heap->header = NULL;
}

pid_t heap_parse_pid(const char *text)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && !errno && number > 0 && number <= INT_MAX ?
		       (pid_t)number :
		       -1;
}

static bool has_page(pid_t pid, struct heap_patience *patience)
{
	struct heap heap;
	enum heap_error error = heap_read(&heap, pid, patience);

	heap_free(&heap);
	return error == HEAP_READ || error == HEAP_CUT || error == HEAP_VERSION;
}

pid_t *heap_find_all(size_t *count, struct heap_patience *patience)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	pid_t *pids = NULL;
	size_t room = 0;

	*count = 0;
	while (dir && (entry = readdir(dir))) {
		pid_t pid = heap_parse_pid(entry->d_name);

		if (pid < 0 || !has_page(pid, patience))
			continue;
		if (*count == room) {
			pid_t *more;

			room = room ? 2 * room : 16;
			more = realloc(pids, room * sizeof(*pids));
			if (!more)
				break;
			pids = more;
		}
		pids[(*count)++] = pid;
	}
	if (dir)
		closedir(dir);
	return pids;
}
