/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"

#include "huge.h"
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#define HUGE_PAGE ((size_t)2 << 20)
#define THREADS_MAX 64

void *bench_huge(size_t length)
{
	char *all = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (all == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)all % HUGE_PAGE;
	if (before)
		munmap(all, before);
	if (before < HUGE_PAGE)
		munmap(all + before + length, HUGE_PAGE - before);
	madvise(all + before, length, MADV_HUGEPAGE);
	return all + before;
}

struct share {
	pthread_t id;
	char *addr;
	size_t length;
	unsigned number;
	int error;
};

static void *populate(void *arg)
{
	struct share *share = arg;

	bench_stay(share->number);
	share->error = madvise(share->addr, share->length, MADV_POPULATE_WRITE) ? errno : 0;
	return NULL;
}

int bench_populate(char *addr, size_t length, unsigned threads)
{
	static struct share share[THREADS_MAX];
	size_t each = (length / threads + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	unsigned n = 0;
	int error = 0;

	for (size_t at = 0; at < length; at += each, n++) {
		share[n] = (struct share){ .addr = addr + at, .number = n };
		share[n].length = length - at < each ? length - at : each;
		/* The first share is the caller's own. */
		if (n && pthread_create(&share[n].id, NULL, populate, &share[n]))
			bench_die("no thread");
	}
	populate(&share[0]);
	bench_roam();
	for (unsigned i = 0; i < n; i++) {
		if (i)
			pthread_join(share[i].id, NULL);
		if (share[i].error)
			error = share[i].error;
	}
	return error;
}
