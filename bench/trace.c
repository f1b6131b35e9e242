/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plays a server's memory against one allocator and prints, for each second of
 * the trace, what is live and what is resident. bench/run trace starts it for
 * all of them; an allocator that takes malloc's place comes by LD_PRELOAD.
 *
 * Without "real" the trace is played as fast as it can be, and clocks
 * stand at the trace's own time: jemalloc and mimalloc give memory back by the
 * clock, and must have as much time for it as they would have in reality.
 */
#include "config.h"

#include "trace.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND ((uint64_t)1000000000)

static struct options {
	const struct trace_subject *subject;
	uint64_t seed;
	unsigned seconds, trim;
	bool real_time;
} options;

/* 0: clocks go as always. */
static _Atomic(uint64_t) virtual_now;

static uint64_t real_now(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* In the C library's place, for the allocator. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	uint64_t ns = atomic_load_explicit(&virtual_now, memory_order_relaxed);

	if (!ns || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE &&
		    clock != CLOCK_MONOTONIC_RAW))
		return (int)syscall(SYS_clock_gettime, clock, now);
	*now = (struct timespec){ (time_t)(ns / SECOND), (long)(ns % SECOND) };
	return 0;
}

void *trace_pages(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		bench_die("no %zu bytes for the trace itself: %s", bytes, strerror(errno));
	return memory;
}

static uint64_t rss(void)
{
	static int fd = -1;
	unsigned long total, resident;
	char text[128];
	ssize_t length;

	if (fd < 0)
		fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	length = pread(fd, text, sizeof(text) - 1, 0);
	if (length <= 0)
		bench_die("/proc/self/statm: %s", strerror(errno));
	text[length] = '\0';
	if (sscanf(text, "%lu %lu", &total, &resident) != 2)
		bench_die("/proc/self/statm: '%s'", text);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void print_line(const char *format, ...)
{
	char line[256];
	va_list list;
	int length;

	va_start(list, format);
	length = vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		bench_die("write: %s", strerror(errno));
}

static void print_sample(const struct trace_plan *plan, unsigned second, uint64_t before)
{
	struct trace_sample sample;
	uint64_t now = rss();

	options.subject->sample(&sample);
	print_line("second %u %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
		   " %" PRIu64 " %" PRIu64 "\n",
		   second, plan->live_bytes, now > before ? now - before : 0, sample.resident,
		   sample.carved, sample.live, sample.magazine, sample.depot, sample.growths);
}

static void sleep_until(uint64_t when)
{
	struct timespec then = { (time_t)(when / SECOND), (long)(when % SECOND) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &then, NULL) == EINTR)
		;
}

static void play(void)
{
	struct trace_plan *plan = trace_plan_open(options.seed, options.seconds);
	uint64_t begin = real_now();
	uint64_t before;

	trace_crew_open(options.subject);
	before = rss();
	print_line("columns second requested rss resident carved live magazine depot growths\n");
	for (uint32_t tick = 0; tick < options.seconds * TRACE_TICKS; tick++) {
		uint64_t now = begin + tick * (SECOND / TRACE_TICKS);
		unsigned second = (tick + 1) / TRACE_TICKS;

		if (options.real_time)
			sleep_until(now);
		else
			atomic_store(&virtual_now, now);
		trace_plan_tick(plan, tick);
		trace_crew_tick(plan);
		if ((tick + 1) % TRACE_TICKS)
			continue;
		print_sample(plan, second, before);
		if (options.trim && second % options.trim == 0 && options.subject->trim)
			options.subject->trim();
	}
	trace_crew_close();
	print_line("end seconds %.1f allocations %" PRIu64 " remote %" PRIu64 " threads %" PRIu64
		   " blocks %" PRIu64 "\n",
		   (double)(real_now() - begin) / (double)SECOND, plan->allocations, plan->remote,
		   plan->started, plan->live_blocks);
}

static unsigned number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || end == text || value > 1000000)
		bench_die("'%s' is no number", text);
	return (unsigned)value;
}

/* Only bench/run calls it, which has a table of options with their meanings. */
static void parse(int argc, char **argv)
{
	if (argc < 5 || argc > 6)
		bench_die("usage: trace rdmalloc|malloc SEED SECONDS TRIM-EACH-SECONDS [real]");
	if (!strcmp(argv[1], trace_rdmalloc.name))
		options.subject = &trace_rdmalloc;
	else if (!strcmp(argv[1], trace_malloc.name))
		options.subject = &trace_malloc;
	else
		bench_die("there is no subject '%s'", argv[1]);
	options.seed = number(argv[2]);
	options.seconds = number(argv[3]);
	options.trim = number(argv[4]);
	options.real_time = argc == 6;
	if (!options.seconds)
		bench_die("a trace takes a second or more");
}

int main(int argc, char **argv)
{
	const char *why;

	parse(argc, argv);
	why = options.subject->open();
	if (why)
		bench_die("%s: %s", options.subject->name, why);
	play();
	return 0;
}
