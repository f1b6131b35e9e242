/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/blame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/contract.h"

/* The one at work (linux/capability.h). */
#define CAP_IPC_LOCK 14
/* What the kernel counts otherwise than /proc/self/maps shows, and a split. */
#define MAPPINGS_MARGIN 4

/* A file of the kernel's, a piece at a time: some are longer than one read gives. */
struct reader {
	int fd;
	char piece[512];
	ssize_t length, at;
};

static void open_reader(struct reader *reader, const char *path)
{
	reader->fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	reader->length = reader->at = 0;
}

static void close_reader(struct reader *reader)
{
	if (reader->fd >= 0)
		syscall(SYS_close, reader->fd);
}

/* -1: it is over. */
static int next_char(struct reader *reader)
{
	if (reader->at == reader->length) {
		reader->at = 0;
		reader->length = reader->fd < 0 ? 0 :
						  syscall(SYS_read, reader->fd, reader->piece,
							  sizeof(reader->piece));
		if (reader->length <= 0) {
			reader->length = 0;
			return -1;
		}
	}
	return (unsigned char)reader->piece[reader->at++];
}

/* What begins the line is in `line`, which is cut. False: there is none. */
static bool next_line(struct reader *reader, char *line, size_t size)
{
	size_t used = 0;
	int c = next_char(reader);

	rdm_assert(size);
	if (c < 0)
		return false;
	for (; c >= 0 && c != '\n'; c = next_char(reader))
		if (used + 1 < size)
			line[used++] = (char)c;
	line[used] = '\0';
	return true;
}

static int digit(char c, unsigned base)
{
	int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

	return value < (int)base ? value : -1;
}

static uint64_t parse(const char *text, unsigned base)
{
	uint64_t number = 0;

	while (*text == ' ' || *text == '\t')
		text++;
	for (; digit(*text, base) >= 0; text++)
		number = number * base + (uint64_t)digit(*text, base);
	return number;
}

/* What the process has of each; all of it 0 where /proc is not to be read. */
struct use {
	bool known;
	uint64_t addresses, data, pinned; /* bytes */
	bool may_lock;                    /* whatever RLIMIT_MEMLOCK says */
};

static bool is_in_first_namespace(void)
{
	struct reader reader;
	char line[80] = "";

	open_reader(&reader, "/proc/self/uid_map");
	next_line(&reader, line, sizeof(line));
	close_reader(&reader);
	/* All numbers that there are. */
	return strstr(line, " 4294967295") != NULL;
}

static void read_use(struct use *use)
{
	struct reader reader;
	char line[80] = "";

	*use = (struct use){ .known = false };
	open_reader(&reader, "/proc/self/status");
	while (next_line(&reader, line, sizeof(line))) {
		use->known = true;
		if (!strncmp(line, "VmSize:", 7))
			use->addresses = parse(line + 7, 10) << 10;
		else if (!strncmp(line, "VmData:", 7))
			use->data = parse(line + 7, 10) << 10;
		else if (!strncmp(line, "VmLck:", 6) || !strncmp(line, "VmPin:", 6))
			use->pinned += parse(line + 6, 10) << 10;
		else if (!strncmp(line, "CapEff:", 7))
			use->may_lock = parse(line + 7, 16) >> CAP_IPC_LOCK & 1;
	}
	close_reader(&reader);
	/* In a user namespace of its own it counts for nothing. */
	if (use->may_lock)
		use->may_lock = is_in_first_namespace();
}

/* Of a file with one number; 0: it cannot be read. */
static uint64_t read_number(const char *path)
{
	struct reader reader;
	char line[32] = "";

	open_reader(&reader, path);
	next_line(&reader, line, sizeof(line));
	close_reader(&reader);
	return parse(line, 10);
}

/* Of a key in /proc/meminfo, bytes. */
static uint64_t read_meminfo(const char *key)
{
	struct reader reader;
	char line[80] = "";
	uint64_t bytes = 0;

	open_reader(&reader, "/proc/meminfo");
	while (next_line(&reader, line, sizeof(line)))
		if (!strncmp(line, key, strlen(key)))
			bytes = parse(line + strlen(key), 10) << 10;
	close_reader(&reader);
	return bytes;
}

static uint64_t count_mappings(void)
{
	struct reader reader;
	char line[2] = "";
	uint64_t count = 0;

	open_reader(&reader, "/proc/self/maps");
	while (next_line(&reader, line, sizeof(line)))
		count++;
	close_reader(&reader);
	return count;
}

/* RLIM_INFINITY: there is none. */
static uint64_t limit_of(int resource)
{
	struct rlimit limit;

	return syscall(SYS_prlimit64, 0, resource, NULL, &limit) ? RLIM_INFINITY : limit.rlim_cur;
}

static bool is_passed(uint64_t limit, uint64_t used, uint64_t more)
{
	return limit != RLIM_INFINITY && (used >= limit || more > limit - used);
}

__attribute__((format(printf, 2, 3))) static bool say(struct rdm_blame_text *text,
						      const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(text->at, sizeof(text->at), format, args);
	va_end(args);
	return true;
}

static bool blame_addresses(const struct rdm_failure *failure, const struct use *use,
			    struct rdm_blame_text *text)
{
	uint64_t limit = limit_of(RLIMIT_AS);

	return failure->wanted & RDM_WANT_ADDRESSES && failure->error == ENOMEM &&
	       is_passed(limit, use->addresses, failure->bytes) &&
	       say(text, "; RLIMIT_AS is %llu MiB, of which %llu are used: raise it (ulimit -v)",
		   (unsigned long long)limit >> 20, (unsigned long long)use->addresses >> 20);
}

static bool blame_data(const struct rdm_failure *failure, const struct use *use,
		       struct rdm_blame_text *text)
{
	uint64_t limit = limit_of(RLIMIT_DATA);

	return failure->wanted & RDM_WANT_MEMORY && failure->error == ENOMEM &&
	       is_passed(limit, use->data, failure->bytes) &&
	       say(text, "; RLIMIT_DATA is %llu MiB, of which %llu are used: raise it (ulimit -d)",
		   (unsigned long long)limit >> 20, (unsigned long long)use->data >> 20);
}

/*
 * EAGAIN is what mmap() and mremap() say after mlockall(MCL_FUTURE). A registrar may count
 * for all processes of the user, so that one's own pins say nothing.
 */
static bool blame_memlock(const struct rdm_failure *failure, const struct use *use,
			  struct rdm_blame_text *text)
{
	uint64_t limit = limit_of(RLIMIT_MEMLOCK);
	bool pins =
		failure->wanted & RDM_WANT_PINS &&
		(failure->error == ENOMEM || failure->error == EPERM || failure->error == EAGAIN);
	bool future = !pins && failure->error == EAGAIN;

	if (limit == RLIM_INFINITY || !(pins || future) || (use->known && use->may_lock))
		return false;
	return say(
		text,
		"; RLIMIT_MEMLOCK is %llu KiB for all that is pinned%s: raise it with `ulimit -l`",
		(unsigned long long)limit >> 10, pins ? "" : ", after mlockall(MCL_FUTURE) all");
}

static bool blame_mappings(const struct rdm_failure *failure, struct rdm_blame_text *text)
{
	uint64_t limit, count;

	if (!(failure->wanted & RDM_WANT_MAPPINGS) || failure->error != ENOMEM)
		return false;
	limit = read_number("/proc/sys/vm/max_map_count");
	count = count_mappings();
	return limit && count && count + MAPPINGS_MARGIN >= limit &&
	       say(text, "; the process has %llu mappings of %llu: raise vm.max_map_count",
		   (unsigned long long)count, (unsigned long long)limit);
}

static bool blame_overcommit(const struct rdm_failure *failure, struct rdm_blame_text *text)
{
	uint64_t limit, used;

	if (!(failure->wanted & RDM_WANT_MEMORY) || failure->error != ENOMEM ||
	    read_number("/proc/sys/vm/overcommit_memory") != 2)
		return false;
	limit = read_meminfo("CommitLimit:");
	used = read_meminfo("Committed_AS:");
	/* What the kernel keeps back of it for root and for each process. */
	return limit && is_passed(limit, used, failure->bytes + limit / 16) &&
	       say(text,
		   "; vm.overcommit_memory is 2, and %llu MiB of %llu are promised: raise "
		   "vm.overcommit_ratio",
		   (unsigned long long)used >> 20, (unsigned long long)limit >> 20);
}

/* Linux 6.10's mseal(2) alone says so of memory of one's own. */
static bool blame_seal(const struct rdm_failure *failure, struct rdm_blame_text *text)
{
	return failure->error == EPERM && failure->wanted & RDM_WANT_MAPPINGS &&
	       say(text, "; somebody has sealed it (mseal(2)), for good");
}

void rdm_blame_find(const struct rdm_failure *failure, struct rdm_blame_text *text)
{
	struct use use;

	rdm_assert(failure->error && failure->wanted);
	text->at[0] = '\0';
	if (blame_seal(failure, text))
		return;
	read_use(&use);
	if (blame_memlock(failure, &use, text) ||
	    (use.known &&
	     (blame_addresses(failure, &use, text) || blame_data(failure, &use, text))) ||
	    blame_mappings(failure, text) || blame_overcommit(failure, text))
		return;
	if (failure->otherwise)
		say(text, "; %s", failure->otherwise);
}

void rdm_blame(enum rdm_log_level level, const struct rdm_failure *failure, const char *format, ...)
{
	struct rdm_blame_text text;
	char what[200];
	int saved = errno;
	va_list args;

	rdm_assert(format);
	if (!rdm_log_is_on(level))
		return;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	rdm_blame_find(failure, &text);
	rdm_log(level, "%s (%s)%s", what, strerror(failure->error), text.at);
	errno = saved;
}
