/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is announced to be registered is written to before, so that it is no page of zeros that
 * others have, too; but only what is private and anonymous. A file that is mapped, and memory
 * that is shared, keep their bytes, their holes and their times.
 */
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PAGES 200

static size_t length;

/* There a read of a hole makes a page, which a registration would make, too. */
static bool is_tmpfs(int fd)
{
	struct statfs fs;

	T_CHECK(!fstatfs(fd, &fs));
	return fs.f_type == 0x01021994;
}

static struct stat state_of(int fd)
{
	struct stat st;

	T_CHECK(!fsync(fd) && !fstat(fd, &st));
	return st;
}

/* Of a file of zeros, most of which are not there, a registration that only reads. */
static void keeps_holes(int fd, int protection, int flags)
{
	struct stat before, after;
	unsigned char *map;

	T_CHECK(!ftruncate(fd, (off_t)length));
	T_CHECK(pwrite(fd, "x", 1, (off_t)(length / 2)) == 1);
	/* The times of long ago. */
	T_CHECK(!futimens(fd, (struct timespec[2]){ { 1000000, 0 }, { 1000000, 0 } }));
	before = state_of(fd);
	map = mmap(NULL, length, protection, flags, fd, 0);
	T_CHECKF(map != MAP_FAILED, "mmap: %s", strerror(errno));
	t_dontfork(map, length);
	t_dofork(map, length);
	after = state_of(fd);
	T_CHECKF(after.st_mtime == before.st_mtime, "the file's time is another");
	T_CHECKF(after.st_blocks == before.st_blocks || is_tmpfs(fd),
		 "the file had %ld blocks, and has %ld", (long)before.st_blocks,
		 (long)after.st_blocks);
	T_CHECK(map[length / 2] == 'x' && !map[0]);
	T_CHECK(!munmap(map, length));
}

static int file_in(const char *folder)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/rdm-origin-XXXXXX", folder);
	fd = mkstemp(path);
	T_CHECKF(fd >= 0, "%s: %s", path, strerror(errno));
	unlink(path);
	return fd;
}

/* Private memory is there, each page of it this process's own. */
static void is_written(unsigned char *map, bool expect)
{
	static unsigned char there[PAGES];
	unsigned present = 0;

	t_dontfork(map, length);
	T_CHECK(!mincore(map, length, there));
	for (unsigned i = 0; i < PAGES; i++)
		present += there[i] & 1U;
	T_CHECKF(present == (expect ? PAGES : 0), "%u of %u pages are there", present, PAGES);
	t_dofork(map, length);
}

static void *map_anonymous(int protection, int flags)
{
	void *map = mmap(NULL, length, protection, flags | MAP_ANONYMOUS, -1, 0);

	T_CHECK(map != MAP_FAILED);
	return map;
}

int main(int argc, char **argv)
{
	const char *tmp = getenv("TMPDIR");
	unsigned char *map;
	int fd;

	(void)argc;
	t_preload(argv, false, NULL);
	length = PAGES * t_page();
	fd = file_in(tmp ? tmp : "/tmp");
	keeps_holes(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	keeps_holes(fd, PROT_READ, MAP_SHARED);
	keeps_holes(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	close(fd);
	is_written(map_anonymous(PROT_READ | PROT_WRITE, MAP_PRIVATE), true);
	is_written(map_anonymous(PROT_NONE, MAP_PRIVATE), false);
	/* What is there already, with gaps. */
	map = map_anonymous(PROT_READ | PROT_WRITE, MAP_PRIVATE);
	for (unsigned i = 0; i < PAGES; i += 3)
		map[i * t_page()] = (unsigned char)(i + 1);
	is_written(map, true);
	for (unsigned i = 0; i < PAGES; i++)
		T_CHECK(map[i * t_page()] == (i % 3 ? 0 : (unsigned char)(i + 1)));
	return T_PASS;
}
