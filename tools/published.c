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
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How the kernel shows a memfd. */
#define LINK "/memfd:" RDM_PICTURE_NAME " (deleted)"
/* While it is being written, for some microseconds unless its process was stopped. */
#define TRIES 200
#define TRY_NS 1000000L

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

/* It goes to a terminal, maybe root's. */
static void clean(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
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

static void read_status(const char *text, struct identity *identity)
{
	const char *line = strstr(text, "\nUid:");
	const char *last;

	if (line)
		identity->user = (uid_t)strtoul(line + strlen("\nUid:"), NULL, 10);
	line = strstr(text, "\nNSpid:");
	if (!line)
		return;
	/* The last number is that of the innermost namespace. */
	line += strlen("\nNSpid:");
	for (last = line; *line && *line != '\n'; line++)
		if (isspace((unsigned char)*line))
			last = line + 1;
	identity->own_pid = strtoull(last, NULL, 10);
}

static bool identify(pid_t pid, struct identity *identity)
{
	struct stat info;
	char text[4096];

	*identity = (struct identity){ .own_pid = (uint64_t)pid };
	snprintf(text, sizeof(text), "/proc/%d", (int)pid);
	if (stat(text, &info) || !read_file(pid, "stat", text, sizeof(text)))
		return false;
	identity->user = identity->owner = info.st_uid;
	read_stat(text, identity);
	if (read_file(pid, "status", text, sizeof(text)))
		read_status(text, identity);
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

/* A sealed memfd can neither be a pipe, which one would wait for, nor change its length. */
static int open_page(int dir, const char *name, struct stat *info)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	if (!fstat(fd, info) && S_ISREG(info->st_mode) && fcntl(fd, F_GET_SEALS) >= 0)
		return fd;
	close(fd);
	return -1;
}

static bool read_all(int fd, void *to, size_t bytes, size_t from)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t got = pread(fd, (char *)to + done, bytes - done, (off_t)(from + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
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

/* One whole picture, or NULL: it has changed meanwhile. */
static struct rdm_picture_header *copy_picture(int fd, const struct rdm_picture_header *header)
{
	struct rdm_picture_header *copy = malloc(header->bytes);
	struct rdm_picture_header after;

	if (!copy)
		return NULL;
	if (read_all(fd, copy, header->bytes, 0)) {
		__sync_synchronize();
		if (read_all(fd, &after, sizeof(after), 0) && after.sequence == header->sequence &&
		    copy->sequence == header->sequence && copy->bytes == header->bytes)
			return copy;
	}
	free(copy);
	return NULL;
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

static enum heap_error read_page(struct heap *heap, int fd, size_t bytes,
				 const struct identity *identity)
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct rdm_picture_header header = { 0 };
		const struct timespec moment = { .tv_nsec = TRY_NS };
		enum heap_error error;

		read_all(fd, &header, bytes < sizeof(header) ? bytes : sizeof(header), 0);
		error = check_header(heap, &header, bytes);
		/* Made, and not written to yet. */
		if (bytes >= sizeof(header) && !header.magic)
			error = HEAP_BUSY;
		else if (error)
			return error;
		if (!error && !(header.sequence % 2)) {
			error = check_owner(heap, &header, identity);
			if (error)
				return error;
			if (!adds_up(&header))
				return fail(heap, HEAP_CUT,
					    "the statistics page of process %d is damaged: its "
					    "numbers do not add up",
					    (int)heap->pid);
			heap->header = copy_picture(fd, &header);
			if (heap->header)
				return HEAP_READ;
		}
		nanosleep(&moment, NULL);
	}
	return fail(heap, HEAP_BUSY,
		    "the statistics page of process %d is only half written: the process is "
		    "stopped, or has just begun",
		    (int)heap->pid);
}

/* Of a program that has both libraries, the one that it is linked with counts. */
static bool is_better(const struct heap *found, const struct heap *heap)
{
	return !heap->header || !(found->header->flags & RDM_PICTURE_PRELOAD);
}

/* A page that is fine; else what is wrong with one, rather than that there is none. */
static enum heap_error try_page(struct heap *heap, int fd, size_t bytes,
				const struct identity *identity, enum heap_error error)
{
	struct heap found = *heap;
	enum heap_error here;

	found.header = NULL;
	here = read_page(&found, fd, bytes, identity);
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

static enum heap_error search(struct heap *heap, DIR *dir, const struct identity *identity)
{
	enum heap_error error =
		fail(heap, HEAP_ABSENT,
		     "process %d publishes no statistics: it has to be started with "
		     "RDMALLOC_CONF=publish:true",
		     (int)heap->pid);
	const struct dirent *entry;

	while ((entry = readdir(dir))) {
		char target[sizeof(LINK) + 1];
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));
		struct stat info;
		int fd;

		if (length != (ssize_t)strlen(LINK) || memcmp(target, LINK, strlen(LINK)) != 0)
			continue;
		fd = open_page(dirfd(dir), entry->d_name, &info);
		if (fd < 0)
			continue;
		error = try_page(heap, fd, (size_t)info.st_size, identity, error);
		close(fd);
	}
	return error;
}

static void end_texts(struct heap *heap)
{
	struct rdm_picture_pool *pools = (struct rdm_picture_pool *)(heap->header + 1);

	clean(heap->header->library, sizeof(heap->header->library));
	for (uint32_t i = 0; i < heap->header->pools; i++) {
		clean(pools[i].name, sizeof(pools[i].name));
		for (unsigned r = 0; r < RDM_PICTURE_RAILS; r++)
			clean(pools[i].rail_names[r], sizeof(pools[i].rail_names[r]));
	}
}

/* Leaves out slabs that are none. */
static void arrange(struct heap *heap)
{
	struct rdm_picture_header *header = heap->header;
	struct rdm_picture_slab *slabs;
	uint32_t kept = 0;

	heap->pools = (const struct rdm_picture_pool *)(header + 1);
	slabs = (struct rdm_picture_slab *)(uintptr_t)(heap->pools + header->pools);
	heap->slabs = slabs;
	heap->cells = (const struct rdm_picture_cell *)(slabs + header->slabs);
	for (uint32_t i = 0; i < header->slabs; i++) {
		uint64_t cells = slabs[i].length >> header->cell_shift;

		if (slabs[i].pool < header->pools && slabs[i].first_cell <= header->cells &&
		    cells && cells <= header->cells - slabs[i].first_cell)
			slabs[kept++] = slabs[i];
	}
	header->slabs = kept;
	end_texts(heap);
}

enum heap_error heap_read(struct heap *heap, pid_t pid)
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
	clean(heap->program, sizeof(heap->program));
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (!dir)
		return errno == EACCES ? deny(heap, &identity) :
					 fail(heap, HEAP_DEAD, "there is no process %d", (int)pid);
	error = search(heap, dir, &identity);
	closedir(dir);
	if (error)
		return error;
	arrange(heap);
	return HEAP_READ;
}

bool heap_read_or_say(struct heap *heap, pid_t pid)
{
	if (heap_read(heap, pid) == HEAP_READ)
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

static bool has_page(pid_t pid)
{
	struct heap heap;
	enum heap_error error = heap_read(&heap, pid);

	heap_free(&heap);
	return error == HEAP_READ || error == HEAP_CUT || error == HEAP_VERSION;
}

pid_t *heap_find_all(size_t *count)
{
	DIR *dir = opendir("/proc");
	const struct dirent *entry;
	pid_t *pids = NULL;
	size_t room = 0;

	*count = 0;
	while (dir && (entry = readdir(dir))) {
		pid_t pid = heap_parse_pid(entry->d_name);

		if (pid < 0 || !has_page(pid))
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
