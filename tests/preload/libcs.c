/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With a threshold of 0 the pages around each small block are registered, and the child's C library
 * looks at what it has for itself before any handler of ours runs: streams of each kind, a long
 * list of fork handlers, what it knows of users. None of it is a hole, in a process of more threads
 * than one.
 */
#include "start.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* glibc has room for 48 handlers until it allocates. */
enum { BLOCKS = 2000, SIZE_MOST = 1200, STREAMS = 16, HANDLERS = 100 };

static struct {
	unsigned char *at;
	size_t size;
} blocks[BLOCKS];
static unsigned made;

/* Of every class of sizes, so that whatever is allocated next has registered neighbours. */
static void surround(void)
{
	for (size_t size = 16; size < SIZE_MOST; size += size / 8 + 8) {
		unsigned char *at = malloc(size);

		T_CHECK(at && made < BLOCKS);
		memset(at, (int)(made & 0xff), size);
		t_dontfork(at, size);
		blocks[made].at = at;
		blocks[made++].size = size;
	}
}

static unsigned char saved_by_handlers;

static void handler(void)
{
	saved_by_handlers++;
}

static ssize_t write_nothing(void *cookie, const char *text, size_t length)
{
	(void)cookie;
	(void)text;
	return (ssize_t)length;
}

static FILE *streams[STREAMS];
static char *memory;
static size_t memory_size;

static FILE *open_stream(unsigned kind)
{
	switch (kind % 4) {
	case 0:
		return fopen("/dev/null", "we");
	case 1:
		return fdopen(dup(STDERR_FILENO), "w");
	case 2:
		return fopencookie(NULL, "w", (cookie_io_functions_t){ .write = write_nothing });
	default:
		return open_memstream(&memory, &memory_size);
	}
}

static void *wait_for_the_end(void *arg)
{
	t_event_wait(arg);
	return NULL;
}

static int child(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < STREAMS; i++)
		T_CHECK(fprintf(streams[i], "%s", "") == 0 && (i % 4 == 1 || !fclose(streams[i])));
	for (unsigned i = 0; i < made; i++)
		for (size_t j = 0; j < blocks[i].size; j++)
			T_CHECK(blocks[i].at[j] == (unsigned char)i);
	(void)getpwuid(0);
	return saved_by_handlers ? T_PASS : T_FAIL;
}

int main(int argc, char **argv)
{
	struct t_event end;
	pthread_t thread;

	(void)argc;
	t_preload(argv, false, "threshold:0");
	t_event_init(&end);
	surround();
	/* Whether there is such a user does not matter. */
	(void)getpwuid(0);
	surround();
	T_CHECK(!pthread_create(&thread, NULL, wait_for_the_end, &end));
	for (unsigned i = 0; i < STREAMS; i++) {
		surround();
		streams[i] = open_stream(i);
		T_CHECK(streams[i]);
	}
	for (unsigned i = 0; i < HANDLERS; i++) {
		T_CHECK(!pthread_atfork(handler, handler, handler));
		if (i % 25 == 0)
			surround();
	}
	surround();
	for (unsigned i = 0; i < 3; i++)
		t_fork_passes(child, NULL);
	t_event_set(&end);
	T_CHECK(!pthread_join(thread, NULL));
	t_say("%u blocks", made);
	return T_PASS;
}
