/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "trace.h"
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

struct member {
	pthread_t id;
	bool running;
	uint32_t generation;
	sem_t go;
	const struct trace_op *ops; /* NULL: end */
	uint32_t count;
};

static struct member *crew;
static void **block; /* by number */
static const struct trace_subject *subject;
static _Atomic(unsigned) busy;
static sem_t done;
static size_t page;

static void wait_for(sem_t *semaphore)
{
	while (sem_wait(semaphore) && errno == EINTR)
		;
}

/* Whoever asks for memory writes to it. */
static void *allocate(size_t size)
{
	char *memory = subject->alloc(size);

	if (!memory)
		bench_die("no %zu bytes", size);
	for (size_t i = 0; i < size; i += page)
		memory[i] = 1;
	memory[size - 1] = 1;
	return memory;
}

static void *work(void *arg)
{
	struct member *self = arg;

	for (;;) {
		wait_for(&self->go);
		if (!self->ops)
			return NULL;
		for (const struct trace_op *op = self->ops; op < self->ops + self->count; op++) {
			if (op->size)
				block[op->block] = allocate(op->size);
			else
				subject->free(block[op->block]);
		}
		if (atomic_fetch_sub(&busy, 1) == 1)
			sem_post(&done);
	}
}

static void end(struct member *member)
{
	member->ops = NULL;
	sem_post(&member->go);
	pthread_join(member->id, NULL);
	member->running = false;
}

static void begin(struct member *member)
{
	int error = pthread_create(&member->id, NULL, work, member);

	if (error)
		bench_die("no thread: %s", strerror(error));
	member->running = true;
}

void trace_crew_open(const struct trace_subject *the_subject)
{
	subject = the_subject;
	page = (size_t)sysconf(_SC_PAGESIZE);
	crew = trace_pages(TRACE_THREADS * sizeof(*crew));
	block = trace_pages(TRACE_BLOCKS * sizeof(*block));
	sem_init(&done, 0, 0);
	for (unsigned i = 0; i < TRACE_THREADS; i++)
		sem_init(&crew[i].go, 0, 0);
}

static void update(const struct trace_plan *plan)
{
	for (unsigned i = 0; i < TRACE_THREADS; i++) {
		bool same = plan->alive[i] && crew[i].generation == plan->generation[i];

		if (crew[i].running && !same)
			end(&crew[i]);
		if (!crew[i].running && plan->alive[i])
			begin(&crew[i]);
		crew[i].generation = plan->generation[i];
	}
}

void trace_crew_tick(const struct trace_plan *plan)
{
	unsigned some = 0;

	update(plan);
	for (unsigned i = 0; i < TRACE_THREADS; i++)
		some += plan->count[i] > 0;
	if (!some)
		return;
	atomic_store(&busy, some);
	for (unsigned i = 0; i < TRACE_THREADS; i++) {
		if (!plan->count[i])
			continue;
		crew[i].ops = plan->ops[i];
		crew[i].count = plan->count[i];
		sem_post(&crew[i].go);
	}
	wait_for(&done);
}

void trace_crew_close(void)
{
	for (unsigned i = 0; i < TRACE_THREADS; i++)
		if (crew[i].running)
			end(&crew[i]);
}
