/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program of four pools that is told on standard input what to do next:
 *
 *   stats  what rdm_pool_stats() says of each pool, as one line of JSON
 *   churn  allocates and frees, and keeps some; work: two threads go on doing so
 *   audit  each pool
 *   fork   a child that has inherited the pools; child: one with a pool of its own. Says its number
 *   close  the descriptors that it does not know, and opens files in their place; files: names those
 *          that somebody wrote to
 *
 * Says "ready" after each, and ends with its input.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rdmalloc.h"

#define POOLS 4
#define BLOCKS 600
#define DESCRIPTORS 1024
/* They take the numbers around the one that the library likes. */
#define FILES 600

static const struct {
	const char *name;
	size_t block;
	unsigned pages, fork;
	int rails;
} kinds[POOLS] = {
	{ "rx", 16384, RDM_PAGES_BEST, RDM_FORK_HOLE, 2 },
	{ "tx", 4096, RDM_PAGES_BEST, RDM_FORK_HOLE, 1 },
	{ "headers", 256, RDM_PAGES_BASE, RDM_FORK_ZERO, 1 },
	{ "state", 100000, RDM_PAGES_THP, RDM_FORK_COPY, 0 },
};

static struct {
	rdm_pool *pool;
	void *blocks[BLOCKS];
} heaps[POOLS];

static pid_t children[16];
static unsigned child_count;

static int register_slab(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)context;
	(void)length;
	*mr = (struct rdm_mr){ .handle = addr };
	return 0;
}

static int deregister_slab(void *context, const struct rdm_mr *mr)
{
	(void)context;
	(void)mr;
	return 0;
}

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void make_pool(unsigned i)
{
	static const char *const names[] = { "left", "right" };
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	struct rdm_registrar registrar = {
		.size = sizeof(registrar),
		.reg = register_slab,
		.dereg = deregister_slab,
	};

	config.name = kinds[i].name;
	config.pages = kinds[i].pages;
	config.fork = kinds[i].fork;
	heaps[i].pool = rdm_pool_create(&config);
	check(heaps[i].pool, "rdm_pool_create");
	for (int r = 0; r < kinds[i].rails; r++) {
		registrar.name = names[r];
		check(rdm_pool_add_rail(heaps[i].pool, &registrar, NULL) >= 0, "rdm_pool_add_rail");
	}
}

static void churn(unsigned *seed, unsigned from, unsigned to, unsigned rounds)
{
	for (unsigned r = 0; r < rounds; r++) {
		unsigned i = (unsigned)rand_r(seed) % POOLS;
		void **block = &heaps[i].blocks[from + (unsigned)rand_r(seed) % (to - from)];
		size_t size = kinds[i].block / 4 + (size_t)rand_r(seed) % kinds[i].block;

		rdm_free(*block);
		/* Waves: now more is live, now less. */
		*block = rand_r(seed) % 1000 < 500 + (int)(r / 100 % 400) ?
				 rdm_malloc(heaps[i].pool, size) :
				 NULL;
	}
}

static void *work(void *arg)
{
	unsigned half = (unsigned)(uintptr_t)arg;
	unsigned seed = half + 1;

	for (;;) {
		const struct timespec rest = { .tv_nsec = 2000000 };

		churn(&seed, half * BLOCKS / 2, (half + 1) * BLOCKS / 2, 200);
		nanosleep(&rest, NULL);
	}
	return NULL;
}

static void start_work(void)
{
	for (uintptr_t i = 0; i < 2; i++) {
		pthread_t thread;

		check(!pthread_create(&thread, NULL, work, (void *)i), "pthread_create");
	}
}

static void print_stats(void)
{
	struct timespec now;

	for (unsigned i = 0; i < POOLS; i++) {
		struct rdm_stats s = { .size = sizeof(s) };

		check(!rdm_pool_stats(heaps[i].pool, &s), "rdm_pool_stats");
		printf("%s\"%s\":{\"slabs\":%zu,\"slab_bytes\":%zu,\"carved_bytes\":%zu,"
		       "\"live_bytes\":%zu,\"live_blocks\":%zu,\"magazine_bytes\":%zu,"
		       "\"depot_bytes\":%zu,\"limit_bytes\":%zu,\"quarantined_bytes\":%zu,"
		       "\"registrations\":%lu,\"deregistrations\":%lu,\"growths\":%lu,"
		       "\"background_growths\":%lu,\"rails\":%zu,\"forks\":%lu,"
		       "\"last_fork_ns\":%lu}",
		       i ? "," : "{", kinds[i].name, s.slabs, s.slab_bytes, s.carved_bytes,
		       s.live_bytes, s.live_blocks, s.magazine_bytes, s.depot_bytes, s.limit,
		       s.quarantined, (unsigned long)s.registrations,
		       (unsigned long)s.deregistrations, (unsigned long)s.growths,
		       (unsigned long)s.background_growths, s.rails, (unsigned long)s.forks,
		       (unsigned long)s.last_fork_ns);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	printf(",\"time\":%ld.%09ld}\n", (long)now.tv_sec, now.tv_nsec);
}

static void audit_all(void)
{
	for (unsigned i = 0; i < POOLS; i++) {
		struct rdm_audit audit = { .size = sizeof(audit) };

		check(!rdm_pool_audit(heaps[i].pool, &audit), "rdm_pool_audit");
	}
}

static void make_child(bool own)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	check(pid >= 0, "fork");
	if (pid) {
		children[child_count++] = pid;
		printf("%d\n", (int)pid);
		return;
	}
	if (own) {
		struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
		rdm_pool *pool;

		config.name = "own";
		pool = rdm_pool_create(&config);
		check(pool && rdm_malloc(pool, 5000), "the child's pool");
	}
	pause();
	_exit(0);
}

static struct {
	int fd;
	struct stat was;
} files[FILES];

static void close_all(void)
{
	/* ThreadSanitizer is not to see it: it would call this a race, which it is. */
	for (int fd = 3; fd < DESCRIPTORS; fd++)
		syscall(SYS_close, fd);
	for (int i = 0; i < FILES; i++) {
		FILE *made = tmpfile();

		check(made && !fstat(fileno(made), &files[i].was), "tmpfile");
		files[i].fd = fileno(made);
	}
}

/* Whether all of them are what they were, and as long. The library may have made its page
 * anew before they were all there, and has one of the numbers then. */
static void look_at_files(void)
{
	for (int i = 0; i < FILES; i++) {
		struct stat is;

		if (fstat(files[i].fd, &is) || is.st_ino != files[i].was.st_ino ||
		    is.st_dev != files[i].was.st_dev)
			printf("descriptor %d is another file\n", files[i].fd);
		else if (is.st_size > 0)
			printf("descriptor %d was written to\n", files[i].fd);
	}
}

static void obey(const char *order)
{
	static unsigned seed = 7;

	if (!strcmp(order, "stats"))
		print_stats();
	else if (!strcmp(order, "churn"))
		churn(&seed, 0, BLOCKS, 100000);
	else if (!strcmp(order, "work"))
		start_work();
	else if (!strcmp(order, "audit"))
		audit_all();
	else if (!strcmp(order, "fork") || !strcmp(order, "child"))
		make_child(*order == 'c');
	else if (!strcmp(order, "close"))
		close_all();
	else if (!strcmp(order, "files"))
		look_at_files();
	else
		check(false, order);
	puts("ready");
	fflush(stdout);
}

int main(void)
{
	char line[64];

	for (unsigned i = 0; i < POOLS; i++)
		make_pool(i);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		obey(line);
	}
	for (unsigned i = 0; i < child_count; i++) {
		kill(children[i], SIGTERM);
		waitpid(children[i], NULL, 0);
	}
	return 0;
}
