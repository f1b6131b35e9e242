/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* Enough to tell a page from its neighbour, and few enough for the smallest pipe. */
#define PAGES 4

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

size_t probe_differ(const unsigned char *a, const unsigned char *b, size_t length)
{
	size_t page = probe_page();
	size_t differ = 0;

	for (size_t at = 0; at < length; at += page)
		differ += memcmp(a + at, b + at, page) != 0;
	return differ;
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

static int set_up(struct trial *trial, const struct probe_engine *engine, struct probe_outcome *out)
{
	struct probe_device *device = &trial->device[trial->opened];
	struct probe_buffer *buffer = &trial->buffer[trial->got];
	int error;

	trial->opened++;
	if (probe_device_open(device, engine, out))
		return -1;
	buffer->length = PAGES * probe_page();
	error = trial->memory->get(trial->memory->context, device, buffer);
	if (error)
		return probe_refused(out, trial->memory->name, error);
	trial->got++;
	return probe_device_pin(device, buffer, out);
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
	return 0;
}

static int run_round(const struct probe_engine *const *engines, size_t n,
		     const struct probe_memory *memory, struct probe_strike *strike,
		     struct probe_outcome *out)
{
	struct trial trial = { .memory = memory };
	size_t stale[PROBE_ENGINES_MAX];
	int ret = 0;

	for (size_t i = 0; i < n && !ret; i++) {
		stale[i] = out[i].device_stale + out[i].cpu_stale;
		ret = set_up(&trial, engines[i], &out[i]);
	}
	if (!ret)
		ret = probe_strike_now(strike, trial.buffer, n, out);
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
