/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

const char *probe_verdict_name(enum probe_verdict verdict)
{
	static const char *const names[] = {
		[PROBE_COHERENT] = "coherent",
		[PROBE_LOST] = "LOST",
		[PROBE_SKIPPED] = "skipped",
		[PROBE_BROKEN] = "broken",
	};

	return names[verdict];
}

size_t probe_page(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int probe_skip(struct probe_outcome *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(out->reason, sizeof(out->reason), format, args);
	va_end(args);
	out->verdict = PROBE_SKIPPED;
	return -1;
}

int probe_broken(struct probe_outcome *out, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(out->reason, sizeof(out->reason), format, args);
	va_end(args);
	out->verdict = PROBE_BROKEN;
	return -1;
}

int probe_refused(struct probe_outcome *out, const char *what, int error)
{
	switch (error) {
	case ENOSYS:
	case EOPNOTSUPP:
		return probe_skip(out, "%s: this kernel or build has no such thing", what);
	case EPERM:
	case EACCES:
		return probe_skip(out, "%s: not permitted", what);
	case ENOMEM:
		return probe_skip(out, "%s: no memory, or RLIMIT_MEMLOCK is too small", what);
	case EADDRINUSE:
		return probe_skip(out, "%s: malloc gave pages that were used before", what);
	default:
		return probe_broken(out, "%s: %s", what, strerror(error));
	}
}

unsigned probe_next_seed(void)
{
	static unsigned seed;

	return __atomic_add_fetch(&seed, 1, __ATOMIC_RELAXED);
}

void probe_fill(unsigned char *addr, size_t length, unsigned seed)
{
	size_t page = probe_page();

	for (size_t i = 0; i < length / page; i++)
		memset(addr + i * page, (int)(1 + (seed * 37 + i * 11) % 255), page);
}

size_t probe_differ(struct probe_outcome *out, const unsigned char *a, const unsigned char *b,
		    size_t length)
{
	size_t page = probe_page();
	size_t differ = 0;

	for (size_t at = 0; at < length; at += page) {
		if (!memcmp(a + at, b + at, page))
			continue;
		differ++;
		if (at / page < 32)
			out->stale |= 1u << (at / page);
	}
	return differ;
}

void probe_pagemap(const void *addr, uint64_t *entry, size_t n)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	off_t at = (off_t)((uintptr_t)addr / probe_page() * sizeof(*entry));

	memset(entry, 0, n * sizeof(*entry));
	if (fd < 0)
		return;
	if (pread(fd, entry, n * sizeof(*entry), at) < 0)
		memset(entry, 0, n * sizeof(*entry));
	close(fd);
}

int probe_device_open(struct probe_device *device, const struct probe_engine *engine,
		      struct probe_outcome *out)
{
	*device = (struct probe_device){ .engine = engine, .fd = { -1, -1 } };
	return engine->open(device, out);
}

int probe_device_pin(struct probe_device *device, struct probe_buffer *buffer,
		     struct probe_outcome *out)
{
	return device->engine->pin(device, buffer, out);
}

int probe_device_check(struct probe_device *device, const struct probe_buffer *buffer,
		       struct probe_outcome *out)
{
	return device->engine->check(device, buffer, out);
}

void probe_device_unpin(struct probe_device *device)
{
	device->engine->unpin(device);
}

void probe_device_close(struct probe_device *device)
{
	device->engine->close(device);
	for (int i = 0; i < 2; i++)
		if (device->fd[i] >= 0)
			close(device->fd[i]);
}

/* What one hazard strikes: engines, each with memory of its own. */
struct trial {
	const struct probe_memory *memory;
	struct probe_device device[PROBE_ENGINES_MAX];
	struct probe_buffer buffer[PROBE_ENGINES_MAX];
	size_t opened, got;
};

static int map(const struct probe_memory *memory, const struct probe_device *device,
	       struct probe_buffer *buffer, struct probe_outcome *out)
{
	int error = memory->get(memory->context, device, buffer);

	if (error)
		return probe_refused(out, memory->name, error);
	if (!buffer->extent)
		buffer->extent = buffer->length;
	return 0;
}

static int prepare(const struct probe_memory *memory, struct probe_buffer *buffer,
		   struct probe_outcome *out)
{
	int error = memory->prepare ? memory->prepare(memory->context, buffer) : 0;

	return error ? probe_refused(out, memory->name, error) : 0;
}

static int attach(const struct probe_memory *memory, const struct probe_device *device,
		  struct probe_buffer *buffer, struct probe_outcome *out)
{
	int error = memory->attach ? memory->attach(memory->context, device, buffer) : 0;

	return error ? probe_refused(out, memory->name, error) : 0;
}

int probe_buffer_get(const struct probe_memory *memory, const struct probe_device *device,
		     struct probe_buffer *buffer, struct probe_outcome *out)
{
	if (map(memory, device, buffer, out))
		return -1;
	if (!prepare(memory, buffer, out) && !attach(memory, device, buffer, out))
		return 0;
	memory->put(memory->context, buffer);
	return -1;
}

static int get(struct trial *trial, const struct probe_engine *engine, struct probe_outcome *out)
{
	struct probe_device *device = &trial->device[trial->opened];
	struct probe_buffer *buffer = &trial->buffer[trial->got];

	trial->opened++;
	if (probe_device_open(device, engine, out))
		return -1;
	buffer->length = PROBE_PAGES * probe_page();
	if (map(trial->memory, device, buffer, out))
		return -1;
	trial->got++;
	return 0;
}

static int pin(struct trial *trial, size_t i, struct probe_outcome *out)
{
	struct probe_buffer *buffer = &trial->buffer[i];

	if (attach(trial->memory, &trial->device[i], buffer, out))
		return -1;
	if (probe_device_pin(&trial->device[i], buffer, out))
		return -1;
	probe_pagemap(buffer->addr, out->at_pin, PROBE_PAGES);
	return 0;
}

static int strike_if(struct trial *trial, struct probe_strike *strike, enum probe_when when,
		     struct probe_outcome *out)
{
	if (strike->hazard->when != when)
		return 0;
	for (size_t i = 0; i < trial->got && when == PROBE_WRITTEN; i++)
		probe_fill(trial->buffer[i].addr, trial->buffer[i].length, probe_next_seed());
	return probe_strike_now(strike, trial->buffer, trial->got, out);
}

/* Everything up to the check, with the hazard where it belongs. */
static int set_up(struct trial *trial, const struct probe_engine *const *engines, size_t n,
		  struct probe_strike *strike, struct probe_outcome *out)
{
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++)
		ret = get(trial, engines[i], &out[i]);
	if (!ret)
		ret = strike_if(trial, strike, PROBE_WRITTEN, out);
	for (size_t i = 0; i < n && !ret; i++)
		ret = prepare(trial->memory, &trial->buffer[i], &out[i]);
	if (!ret)
		ret = strike_if(trial, strike, PROBE_PREPARED, out);
	for (size_t i = 0; i < n && !ret; i++)
		ret = pin(trial, i, &out[i]);
	return ret ? ret : strike_if(trial, strike, PROBE_PINNED, out);
}

static void tear_down(struct trial *trial)
{
	for (size_t i = 0; i < trial->got; i++) {
		probe_device_unpin(&trial->device[i]);
		trial->memory->put(trial->memory->context, &trial->buffer[i]);
	}
	for (size_t i = 0; i < trial->opened; i++)
		probe_device_close(&trial->device[i]);
}

static int check_all(struct trial *trial, struct probe_outcome *out)
{
	for (size_t i = 0; i < trial->got; i++)
		if (probe_device_check(&trial->device[i], &trial->buffer[i], &out[i]))
			return -1;
	for (size_t i = 0; i < trial->got; i++)
		probe_pagemap(trial->buffer[i].addr, out[i].at_end, PROBE_PAGES);
	return 0;
}

static int run_round(const struct probe_engine *const *engines, size_t n,
		     const struct probe_memory *memory, struct probe_strike *strike,
		     struct probe_outcome *out)
{
	struct trial trial = { .memory = memory };
	size_t stale[PROBE_ENGINES_MAX];
	int ret;

	for (size_t i = 0; i < n; i++)
		stale[i] = out[i].device_stale + out[i].cpu_stale;
	ret = set_up(&trial, engines, n, strike, out);
	if (!ret) {
		do {
			ret = check_all(&trial, out);
			if (!ret)
				ret = probe_strike_goes_on(strike, out);
		} while (ret > 0);
	}
	probe_strike_calm(strike);
	tear_down(&trial);
	for (size_t i = 0; i < n && !ret; i++) {
		out[i].rounds++;
		out[i].lost += out[i].device_stale + out[i].cpu_stale > stale[i];
	}
	return ret;
}

/* What ended one engine's probe ended them all. */
static void share_failure(struct probe_outcome *out, size_t n)
{
	size_t failed = 0;

	while (out[failed].verdict == PROBE_COHERENT)
		failed++;
	for (size_t i = 0; i < n; i++) {
		out[i].verdict = out[failed].verdict;
		memmove(out[i].reason, out[failed].reason, sizeof(out[i].reason));
	}
}

void probe_run_all(const struct probe_engine *const *engines, size_t n,
		   const struct probe_hazard *hazard, const struct probe_memory *memory,
		   struct probe_outcome *out)
{
	unsigned rounds = hazard->rounds ? hazard->rounds : 1;
	struct probe_strike strike;
	int ret;

	for (size_t i = 0; i < n; i++)
		out[i] = (struct probe_outcome){ .verdict = PROBE_COHERENT };
	ret = probe_strike_begin(&strike, hazard, out);
	while (!ret && out->rounds < rounds)
		ret = run_round(engines, n, memory, &strike, out);
	probe_strike_end(&strike);
	if (ret)
		share_failure(out, n);
	for (size_t i = 0; i < n && !ret; i++)
		if (out[i].lost)
			out[i].verdict = PROBE_LOST;
}

enum probe_verdict probe_run(const struct probe_engine *engine, const struct probe_hazard *hazard,
			     const struct probe_memory *memory, struct probe_outcome *out)
{
	probe_run_all(&engine, 1, hazard, memory, out);
	return out->verdict;
}
