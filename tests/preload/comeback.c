/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Under LD_PRELOAD memory that a program has freed goes back to the system by itself, at once
 * and without a thread of ours: after a burst of blocks of any kind, from threads that ended,
 * in a child. What is in use again and again stays. malloc_trim gives back the rest, and mallinfo2
 * knows of the pool's blocks.
 */
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* More than is in use may stay resident: a tenth of that, and so much. */
#define SPARE (4 * T_MIB)

static void *block[100000];

/* Without a block of memory of its own. */
static size_t resident(void)
{
	char text[8192];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	const char *line;

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	line = strstr(text, "RssAnon:");
	if (!line)
		t_skip("this kernel does not say how much anonymous memory is resident");
	return strtoul(line + strlen("RssAnon:"), NULL, 10) << 10;
}

static size_t faults(void)
{
	struct rusage usage;

	T_CHECK(!getrusage(RUSAGE_SELF, &usage));
	return (size_t)usage.ru_minflt;
}

/* One byte of each page, at addresses that do not depend on where the block begins. */
static void touch(void *start, size_t size)
{
	size_t page = t_page();
	uintptr_t at = ((uintptr_t)start + page - 1) & ~(page - 1);

	T_CHECK(start);
	for (; at < (uintptr_t)start + size; at += page)
		*(volatile char *)at = 1;
	*(volatile char *)start = 1;
}

static void expect_back(const char *what, size_t before, size_t live)
{
	size_t now = resident(), most = before + live + live / 10 + SPARE;

	T_CHECKF(now <= most, "%s: %zu KiB are resident, %zu were before, %zu are in use", what,
		 now >> 10, before >> 10, live >> 10);
}

typedef void *(*make)(size_t size);

static void *zeroed(size_t size)
{
	return calloc(1, size);
}

static void *aligned(size_t size)
{
	return memalign(65536, size);
}

static void *grown(size_t size)
{
	void *start = malloc(size / 4);

	touch(start, size / 4);
	return realloc(start, size);
}

/* Every `keep`th block stays; 0: none. */
static void burst(const char *what, make function, size_t size, size_t count, size_t keep)
{
	size_t before = resident(), kept = 0;

	T_CHECK(count <= sizeof(block) / sizeof(block[0]));
	for (size_t i = 0; i < count; i++) {
		block[i] = function(size);
		touch(block[i], size);
	}
	T_CHECKF(resident() - before >= size * count / 2, "%s: the burst is not resident", what);
	for (size_t i = 0; i < count; i++)
		if (keep && !(i % keep))
			kept++;
		else
			free(block[i]);
	expect_back(what, before, kept * size);
	for (size_t i = 0; keep && i < count; i += keep)
		free(block[i]);
}

static void bursts(void)
{
	burst("1 MiB", malloc, T_MIB, 60, 0);
	burst("100 KB", malloc, 100000, 500, 0);
	burst("20 KB", malloc, 20000, 2000, 0);
	burst("200 bytes", malloc, 200, 100000, 0);
	burst("5 MiB", malloc, 5 * T_MIB, 8, 0);
	burst("40 MiB", malloc, 40 * T_MIB, 1, 0);
	burst("calloc", zeroed, 65536, 600, 0);
	burst("memalign", aligned, 65536, 600, 0);
	burst("realloc", grown, 4 * T_MIB, 10, 0);
	burst("each second stays", malloc, T_MIB, 60, 2);
	for (unsigned i = 0; i < 5; i++)
		burst("again", malloc, T_MIB, 20, 0);
}

static pthread_barrier_t barrier;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void *burst_and_wait(void *arg)
{
	pthread_mutex_lock(&turn);
	burst("in a thread", malloc, T_MIB, 20, 0);
	pthread_mutex_unlock(&turn);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return arg;
}

static void idle_threads(void)
{
	enum { THREADS = 10 };
	pthread_t thread[THREADS];
	size_t before = resident();

	T_CHECK(!pthread_barrier_init(&barrier, NULL, THREADS + 1));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, burst_and_wait, NULL));
	pthread_barrier_wait(&barrier);
	expect_back("threads that wait", before, 0);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
	expect_back("threads that ended", before, 0);
}

static void *free_all(void *arg)
{
	for (size_t i = 0; i < 600; i++)
		free(block[i]);
	return arg;
}

static void freed_elsewhere(void)
{
	size_t before = resident();
	pthread_t thread;

	for (size_t i = 0; i < 600; i++)
		touch(block[i] = malloc(65536), 65536);
	T_CHECK(!pthread_create(&thread, NULL, free_all, NULL));
	T_CHECK(!pthread_join(thread, NULL));
	expect_back("freed by another thread", before, 0);
}

static int child_bursts(void *arg)
{
	(void)arg;
	burst("in a child", malloc, T_MIB, 40, 0);
	return T_PASS;
}

/* Buffers of many sizes that take turns fault little, and so does one that comes and goes. */
static void reuse(void)
{
	static void *buffer[20];
	struct t_rng rng = { .state = 42 };
	size_t before = resident(), start = 0, pages = 0;

	for (int i = -60; i < 100; i++) {
		size_t size = 2 * T_MIB + t_below(&rng, 8 * T_MIB);
		void **one = &buffer[t_below(&rng, 20)];

		if (!i) {
			start = faults();
			pages = 0;
		}
		free(*one);
		touch(*one = malloc(size), size);
		pages += size / t_page();
	}
	t_say("buffers that take turns: %zu faults for %zu pages", faults() - start, pages);
	T_CHECK(faults() - start <= pages / 3);
	for (unsigned i = 0; i < 20; i++)
		free(buffer[i]);
	expect_back("buffers that took turns", before, 0);
	start = faults();
	for (unsigned i = 0; i < 50; i++) {
		void *volatile one = malloc(5 * T_MIB);

		touch(one, 5 * T_MIB);
		free(one);
	}
	T_CHECKF(faults() - start <= 50 * 5 * T_MIB / t_page() / 4, "%zu faults of one buffer",
		 faults() - start);
}

static void trim(void)
{
	size_t before, untrimmed;

	malloc_trim(0);
	before = resident();
	for (size_t i = 0; i < 100; i++)
		touch(block[i] = malloc(50000), 50000);
	for (size_t i = 0; i < 100; i++)
		free(block[i]);
	untrimmed = resident();
	T_CHECKF(untrimmed > before + T_MIB / 4, "%zu KiB are resident, %zu were before",
		 untrimmed >> 10, before >> 10);
	T_CHECK(malloc_trim(0) == 1);
	T_CHECKF(resident() < before + (untrimmed - before) / 2,
		 "%zu KiB after malloc_trim, %zu before it, %zu at first", resident() >> 10,
		 untrimmed >> 10, before >> 10);
}

/* One byte in it each time: what nobody touched is not there, however often it moves. */
static void sparse_growth(void)
{
	size_t before = resident(), size = T_MIB;
	char *volatile grown_up = malloc(size);

	for (; size < 1000 * T_MIB; size += size / 4 & -t_page()) {
		grown_up = realloc(grown_up, size);
		T_CHECK(grown_up);
		grown_up[size - 1] = 1;
	}
	T_CHECKF(resident() < before + 16 * T_MIB, "%zu MiB are resident of some pages",
		 (resident() - before) / T_MIB);
	free(grown_up);
}

static void accounts(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
	struct mallinfo2 before = mallinfo2(), now;
	void *volatile some = malloc(3 * T_MIB), *volatile huge = malloc(100 * T_MIB);
	char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	T_CHECK(some && huge && stream);
	now = mallinfo2();
	T_CHECKF(now.uordblks - before.uordblks >= 3 * T_MIB &&
			 now.uordblks - before.uordblks < 4 * T_MIB,
		 "%zu bytes in use, %zu before", now.uordblks, before.uordblks);
	T_CHECK(now.hblks == before.hblks + 1);
	T_CHECK(now.hblkhd - before.hblkhd >= 100 * T_MIB);
	T_CHECK(!malloc_info(0, stream) && !fclose(stream));
	T_CHECKF(strstr(text, "<rdmalloc>") && strstr(text, "</malloc>"), "%s", text);
	free(some);
	free(huge);
	free(text);
	now = mallinfo2();
	T_CHECK(now.hblkhd == before.hblkhd);
	T_CHECK(now.uordblks < before.uordblks + T_MIB);
#endif
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, "threshold:0");
	bursts();
	idle_threads();
	freed_elsewhere();
	t_fork_passes(child_bursts, NULL);
	reuse();
	trim();
	sparse_growth();
	accounts();
	return T_PASS;
}
