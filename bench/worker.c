/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "ring.h"
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64

uint64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const char *bench_why(const char *format, ...)
{
	static char why[200];
	va_list list;

	va_start(list, format);
	vsnprintf(why, sizeof(why), format, list);
	va_end(list);
	for (char *c = why; *c; c++)
		if (*c == '\n' || *c == '\t')
			*c = ' ';
	return why;
}

void bench_die(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	_exit(1);
}

static cpu_set_t cpus_allowed;

void bench_cpus_find(void)
{
	if (sched_getaffinity(0, sizeof(cpus_allowed), &cpus_allowed))
		bench_die("sched_getaffinity: %s", strerror(errno));
}

unsigned bench_cpus(void)
{
	return (unsigned)CPU_COUNT(&cpus_allowed);
}

void bench_stay(unsigned number)
{
	unsigned skip = number % bench_cpus();
	cpu_set_t one;

	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &cpus_allowed) || skip--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (pthread_setaffinity_np(pthread_self(), sizeof(one), &one))
			bench_die("cannot stay on CPU %u", cpu);
		return;
	}
}

void bench_roam(void)
{
	if (pthread_setaffinity_np(pthread_self(), sizeof(cpus_allowed), &cpus_allowed))
		bench_die("cannot use the CPUs of before");
}

void *bench_pages(size_t length)
{
	void *addr = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (addr == MAP_FAILED)
		bench_die("no %zu bytes for the bench itself: %s", length, strerror(errno));
	return addr;
}

void bench_pages_free(void *addr, size_t length)
{
	munmap(addr, length);
}

void bench_keep(uint64_t value)
{
	__asm__ volatile("" : : "r"(value) : "memory");
}

size_t bench_vmas(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	size_t lines = 0;
	int c;

	if (!maps)
		bench_die("/proc/self/maps: %s", strerror(errno));
	while ((c = getc_unlocked(maps)) != EOF)
		lines += c == '\n';
	fclose(maps);
	return lines;
}

uint64_t bench_below(struct bench_random *random, uint64_t n)
{
	uint64_t x = random->state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (x ^ x >> 31) % n;
}

void bench_pointers(const void **pointer, const struct bench_range *range, unsigned n)
{
	struct bench_random random = { 1 };

	for (size_t i = 0; i < BENCH_KEYS; i++) {
		const struct bench_range *r = &range[bench_below(&random, n)];

		pointer[i] = r->base + bench_below(&random, r->length / 64) * 64;
	}
}

const char *bench_forks(const struct bench_case *c, uint64_t operations, uint64_t *ns,
			uint64_t *done)
{
	(void)c;
	for (; *done < operations; ++*done) {
		uint64_t begin = bench_now();
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		*ns += bench_now() - begin;
		if (pid < 0)
			return bench_why("fork: %s", strerror(errno));
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return NULL;
}

struct crew {
	bench_loop *loop;
	void (*begin)(void);
	void (*end)(void);
	unsigned size;
	_Atomic(unsigned) arrived;
};

struct member {
	struct bench_thread thread;
	struct crew *crew;
	pthread_t id;
};

bool bench_warm = true;

/* Caches of the allocator's and of the CPU's fill first. */
static void warm_up(struct bench_thread *thread, bench_loop *loop)
{
	uint64_t operations = thread->operations;

	if (!bench_warm)
		return;
	thread->operations = operations / 8 + 1;
	loop(thread);
	thread->operations = operations;
}

static void timed(struct bench_thread *thread, bench_loop *loop)
{
	thread->begin = bench_now();
	loop(thread);
	thread->end = bench_now();
}

/* All leave at once: a barrier that sleeps would wake one after the other. */
static void meet(struct crew *crew)
{
	unsigned all = (atomic_fetch_add(&crew->arrived, 1) / crew->size + 1) * crew->size;

	for (unsigned spins = 0; atomic_load(&crew->arrived) < all;)
		bench_relax(&spins);
}

static void *work(void *arg)
{
	struct member *member = arg;
	struct crew *crew = member->crew;
	struct bench_thread *thread = &member->thread;

	bench_stay(thread->number);
	if (crew->begin)
		crew->begin();
	warm_up(thread, crew->loop);
	meet(crew);
	timed(thread, crew->loop);
	meet(crew);
	if (crew->end)
		crew->end();
	return NULL;
}

void bench_threads(const struct bench_case *c, bench_loop *loop, uint64_t operations, uint64_t *ns,
		   uint64_t *done, void (*begin)(void), void (*end)(void))
{
	static struct member member[THREADS_MAX];
	struct crew crew = { .loop = loop, .begin = begin, .end = end, .size = c->threads };
	uint64_t first = UINT64_MAX, last = 0;

	if (c->threads > THREADS_MAX)
		bench_die("%u threads are too many", c->threads);
	if (c->threads == 1) {
		struct bench_thread thread = { .c = c, .operations = operations };

		bench_stay(0);
		warm_up(&thread, loop);
		timed(&thread, loop);
		bench_roam();
		*ns = thread.end - thread.begin;
		*done = thread.operations;
		return;
	}
	for (unsigned i = 0; i < c->threads; i++) {
		member[i] = (struct member){ .crew = &crew };
		member[i].thread =
			(struct bench_thread){ .c = c, .operations = operations, .number = i };
		if (pthread_create(&member[i].id, NULL, work, &member[i]))
			bench_die("no thread");
	}
	for (unsigned i = 0; i < c->threads; i++) {
		pthread_join(member[i].id, NULL);
		if (member[i].thread.begin < first)
			first = member[i].thread.begin;
		if (member[i].thread.end > last)
			last = member[i].thread.end;
	}
	*ns = last - first;
	*done = member[0].thread.operations;
}
