/* SPDX-License-Identifier: BSD-2-Clause */
#include "preload/report.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/contract.h"
#include "base/log.h"
#include "plain/pins.h"
#include "sync/fork_count.h"

/* Where programs have no descriptors. */
#define DESCRIPTOR 500

bool rdm_report_is_wanted;

static _Atomic uint64_t blocks, bytes, live, peak, refused, refused_bytes;
/* Many programs close stderr before they end. */
static int kept_stderr = -1;

/* The child's report is of what it did itself. */
static void forget(void)
{
	blocks = bytes = refused = refused_bytes = 0;
	peak = live;
}

void rdm_report_open(void)
{
	rdm_report_is_wanted = rdm_conf()->report != RDM_REPORT_NONE;
	if (!rdm_report_is_wanted)
		return;
	if (!*rdm_conf()->report_file)
		kept_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, DESCRIPTOR);
	if (pthread_atfork(NULL, NULL, forget))
		rdm_log(RDM_LOG_WARN, "report: no memory for a fork handler: children's reports "
				      "include their parents'");
}

void rdm_report_served(size_t size)
{
	uint64_t now = atomic_fetch_add_explicit(&live, size, memory_order_relaxed) + size;
	uint64_t most = atomic_load_explicit(&peak, memory_order_relaxed);

	atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
	while (now > most && !atomic_compare_exchange_weak(&peak, &most, now))
		;
}

void rdm_report_freed(size_t size)
{
	atomic_fetch_sub_explicit(&live, size, memory_order_relaxed);
}

void rdm_report_refused(size_t size)
{
	atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&refused_bytes, size, memory_order_relaxed);
}

/* As a launcher says it; "-" where there is none. */
static const char *rank(void)
{
	static const char *const names[] = { "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
					     "SLURM_PROCID" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && *value && strspn(value, "0123456789") == strlen(value))
			return value;
	}
	return "-";
}

struct text {
	char at[2048];
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
	va_list args;
	int wanted;

	rdm_assert(text->used < sizeof(text->at));
	va_start(args, format);
	wanted = vsnprintf(text->at + text->used, sizeof(text->at) - text->used, format, args);
	va_end(args);
	if (wanted > 0)
		text->used += (size_t)wanted;
	if (text->used >= sizeof(text->at))
		text->used = sizeof(text->at) - 1;
}

/* "12.3 MiB" */
static void add_size(struct text *text, uint64_t size)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned unit = 0;
	uint64_t tenths = size * 10;

	rdm_assert(text);
	for (; tenths >= 10240 && unit < 4; unit++)
		tenths /= 1024;
	if (unit)
		add(text, "%lu.%lu %s", (unsigned long)tenths / 10, (unsigned long)tenths % 10,
		    units[unit]);
	else
		add(text, "%lu bytes", (unsigned long)size);
}

static void describe(struct text *text, const struct rdm_pin_counts *pins)
{
	add(text, "rdmalloc: %s, process %d, rank %s:\n  served: %lu blocks, ",
	    program_invocation_short_name, (int)getpid(), rank(), (unsigned long)blocks);
	add_size(text, bytes);
	add(text, " in all, at most ");
	add_size(text, peak);
	add(text, " at a time\n  forks: %lu", (unsigned long)rdm_fork_count());
	if (rdm_fork_count())
		add(text, ", the last one cost %lu us here",
		    (unsigned long)rdm_fork_last_ns() / 1000);
	add(text, "\n  registered and protected: %zu times, ", pins->inside);
	add_size(text, pins->inside_bytes);
	add(text,
	    "\n  registered elsewhere (stacks, globals, mmap, small blocks), only "
	    "written to: %zu times, ",
	    pins->outside);
	add_size(text, pins->outside_bytes);
	if (refused) {
		add(text, "\n  refused, and left to the program's own malloc: %lu blocks, ",
		    (unsigned long)refused);
		add_size(text, refused_bytes);
	}
	if (pins->unseen)
		add(text,
		    "\n  forks with memory pinned by nobody knows whom, which copied all: %zu",
		    pins->unseen);
	add(text, "\n");
}

static void describe_json(struct text *text, const struct rdm_pin_counts *pins)
{
	const char *name = program_invocation_short_name;

	add(text, "{\"program\":\"");
	/* What would need an escape is left out. */
	for (; *name; name++)
		if (*name >= ' ' && *name < 127 && *name != '"' && *name != '\\')
			add(text, "%c", *name);
	add(text, "\",\"pid\":%d,\"rank\":%s,", (int)getpid(), *rank() == '-' ? "null" : rank());
	add(text, "\"blocks\":%lu,\"bytes\":%lu,\"peak_bytes\":%lu,", (unsigned long)blocks,
	    (unsigned long)bytes, (unsigned long)peak);
	add(text, "\"forks\":%lu,\"last_fork_ns\":%lu,", (unsigned long)rdm_fork_count(),
	    (unsigned long)rdm_fork_last_ns());
	add(text, "\"protected\":{\"registrations\":%zu,\"bytes\":%zu},", pins->inside,
	    pins->inside_bytes);
	add(text, "\"elsewhere\":{\"registrations\":%zu,\"bytes\":%zu},", pins->outside,
	    pins->outside_bytes);
	add(text, "\"refused\":{\"blocks\":%lu,\"bytes\":%lu},\"unseen_pin_forks\":%zu}\n",
	    (unsigned long)refused, (unsigned long)refused_bytes, pins->unseen);
}

/* The file's name, with %p and %r replaced. */
static void expand(struct text *path)
{
	for (const char *c = rdm_conf()->report_file; *c; c++)
		if (c[0] == '%' && c[1] == 'p' && c++)
			add(path, "%d", (int)getpid());
		else if (c[0] == '%' && c[1] == 'r' && c++)
			add(path, "%s", rank());
		else
			add(path, "%c", *c);
}

static int open_output(void)
{
	/* Once, and whoever ends the process may have a small stack. */
	static struct text path;
	int fd;

	if (!*rdm_conf()->report_file) {
		if (kept_stderr >= 0 && rdm_log_is_stderr(kept_stderr))
			return kept_stderr;
		/* Nobody is told in a file of the program's. */
		return rdm_log_is_stderr(STDERR_FILENO) ? STDERR_FILENO : -1;
	}
	expand(&path);
	fd = open(path.at, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0)
		rdm_log(RDM_LOG_ERROR, "report: cannot write to %s: %s", path.at, strerror(errno));
	return fd;
}

/* After the program's own exit handlers. */
__attribute__((destructor(101))) static void report(void)
{
	static struct text text;
	struct rdm_pin_counts pins;
	int fd;

	if (!rdm_report_is_wanted)
		return;
	rdm_pins_count(&pins);
	/* Most helpers of a program have nothing to tell. */
	if (!blocks && !refused && !pins.inside && !pins.outside)
		return;
	if (rdm_conf()->report == RDM_REPORT_JSON)
		describe_json(&text, &pins);
	else
		describe(&text, &pins);
	fd = open_output();
	if (fd >= 0 && write(fd, text.at, text.used) < 0)
		rdm_log(RDM_LOG_ERROR, "report: cannot be written: %s", strerror(errno));
}
