/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fork() at any moment: beside threads that allocate, register, read and flush streams, open
 * and close them, load libraries, start and end, and signals whose handlers fork. Under each
 * policy nothing hangs, and each child has a heap. RDM_TEST_FULL: 25,000 times each.
 */
#include "start.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 16, LINE_BYTES = 60000, SLOTS = 8 };

static atomic_bool stop;
static atomic_uint by_handlers;
static char text[] = "/tmp/rdmalloc-storm.XXXXXX";

static void use(struct t_rng *rng, unsigned char *slots[])
{
	unsigned i = (unsigned)t_below(rng, SLOTS);
	size_t size = t_log_uniform(rng, 16, 2 * T_MIB);

	if (t_below(rng, 2)) {
		unsigned char *grown = realloc(slots[i], size);

		T_CHECK(grown);
		slots[i] = grown;
	} else {
		free(slots[i]);
		slots[i] = t_below(rng, 2) ? malloc(size) : calloc(1, size);
		T_CHECK(slots[i]);
	}
	T_CHECK(malloc_usable_size(slots[i]) >= size);
	slots[i][size - 1] = 1;
}

static void *allocate(void *arg)
{
	struct t_rng rng = { .state = (uintptr_t)arg };
	unsigned char *slots[SLOTS] = { NULL };

	while (!stop)
		use(&rng, slots);
	for (unsigned i = 0; i < SLOTS; i++)
		free(slots[i]);
	return NULL;
}

static void *announce(void *arg)
{
	size_t size = 65536;

	while (!stop) {
		unsigned char *block = malloc(size);

		T_CHECK(block);
		t_dontfork(block, size);
		block[0] = 1;
		sched_yield();
		t_dofork(block, size);
		free(block);
	}
	return arg;
}

/* getline() has the stream while it waits for memory. */
static void *read_lines(void *arg)
{
	FILE *stream = fopen(text, "r");

	T_CHECK(stream);
	while (!stop) {
		char *line = NULL;
		size_t size = 0;

		rewind(stream);
		T_CHECK(getline(&line, &size, stream) == LINE_BYTES + 1);
		free(line);
	}
	T_CHECK(!fclose(stream));
	return arg;
}

/* And fflush() has all of them, while open_memstream()'s wants memory. */
static void *flush(void *arg)
{
	while (!stop) {
		char *memory = NULL;
		size_t size = 0;
		FILE *stream = open_memstream(&memory, &size);

		T_CHECK(stream);
		T_CHECK(fprintf(stream, "%*s", LINE_BYTES, "x") == LINE_BYTES);
		T_CHECK(!fflush(NULL));
		T_CHECK(!fclose(stream) && size == LINE_BYTES);
		free(memory);
		sched_yield();
	}
	return arg;
}

static void *open_and_close(void *arg)
{
	static const char words[] = "  some words";

	while (!stop) {
		FILE *stream = fmemopen((void *)(uintptr_t)words, sizeof(words) - 1, "r");
		char *word = NULL;

		T_CHECK(stream && !setvbuf(stream, NULL, _IOFBF, 32768));
		T_CHECK(fscanf(stream, "%ms", &word) == 1);
		free(word);
		T_CHECK(!fclose(stream));
	}
	return arg;
}

static void *load(void *arg)
{
	while (!stop) {
		void *library = dlopen("libresolv.so.2", RTLD_NOW | RTLD_LOCAL);

		if (library)
			T_CHECK(!dlclose(library));
		T_CHECK(!dlsym(RTLD_DEFAULT, "there_is_no_such_function"));
		free(dlerror() ? malloc(20000) : NULL);
	}
	return arg;
}

static void *use_once(void *arg)
{
	struct t_rng rng = { .state = (uintptr_t)arg };
	unsigned char *slots[SLOTS] = { NULL };

	for (unsigned i = 0; i < 20; i++)
		use(&rng, slots);
	for (unsigned i = 0; i < SLOTS; i++)
		free(slots[i]);
	return NULL;
}

static void *start_and_end(void *arg)
{
	while (!stop) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, NULL, use_once, arg));
		T_CHECK(!pthread_join(thread, NULL));
	}
	return NULL;
}

/* Any thread may get it, wherever it is; so the fork is the one that handlers may use. */
static void fork_here(int signal)
{
	int saved = errno;
	pid_t pid = _Fork();

	(void)signal;
	if (!pid)
		_exit(0);
	if (pid > 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		atomic_fetch_add(&by_handlers, 1);
	}
	errno = saved;
}

/* With each fork another thread gets a signal, the one that forks among them. */
static pthread_t threads[THREADS + 1];
static atomic_uint begun;

static void *send_signals(void *arg)
{
	unsigned sent = 0;

	while (!stop) {
		unsigned now = begun;

		if (now != sent)
			T_CHECK(!pthread_kill(threads[now % (THREADS + 1)], SIGUSR1));
		sent = now;
		sched_yield();
	}
	return arg;
}

static void make_text(void)
{
	char line[LINE_BYTES + 1];
	int fd = mkstemp(text);

	T_CHECK(fd >= 0);
	memset(line, 'x', LINE_BYTES);
	line[LINE_BYTES] = '\n';
	T_CHECK(write(fd, line, sizeof(line)) == sizeof(line));
	T_CHECK(!close(fd));
}

static void one_fork(void)
{
	int status;
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (!pid) {
		struct t_rng rng = { .state = (uintptr_t)getpid() };
		unsigned char *slots[SLOTS] = { NULL };

		for (unsigned i = 0; i < 10; i++)
			use(&rng, slots);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) != pid)
		T_CHECK(errno == EINTR);
	T_CHECKF(!status, "a child ended with %#x", status);
}

static void storm(const char *conf, unsigned forks)
{
	void *(*const kinds[])(void *) = {
		allocate, allocate, allocate,       allocate,
		announce, announce, read_lines,     read_lines,
		flush,    flush,    open_and_close, open_and_close,
		load,     load,     start_and_end,  start_and_end,
	};
	struct sigaction action = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
	pthread_t sender;

	_Static_assert(sizeof(kinds) / sizeof(kinds[0]) == THREADS, "as many as it says");
	make_text();
	T_CHECK(!sigaction(SIGUSR1, &action, NULL));
	for (uintptr_t i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&threads[i], NULL, kinds[i], (void *)(i + 1)));
	threads[THREADS] = pthread_self();
	T_CHECK(!pthread_create(&sender, NULL, send_signals, NULL));
	for (unsigned i = 0; i < forks; i++) {
		begun = i + 1;
		one_fork();
		if (!((i + 1) % 1000))
			t_say("%s: %u forks", conf, i + 1);
	}
	stop = true;
	T_CHECK(!pthread_join(sender, NULL));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(threads[i], NULL));
	T_CHECK(!unlink(text));
	t_say("%s: %u forks, and %u by handlers", conf, forks, by_handlers);
}

int main(int argc, char **argv)
{
	static const char *const confs[] = { "magazine:1M,preload_fork:registered",
					     "preload_fork:copy", "preload_fork:hole",
					     "preload_fork:zero" };
	const char *preloaded = getenv("LD_PRELOAD");
	unsigned forks = getenv("RDM_TEST_FULL") ? 25000 : t_quick() ? 25 : 500;

	(void)argc;
	if (preloaded && strstr(preloaded, "librdmalloc-preload")) {
		t_preload(argv, false, NULL);
		storm(getenv("RDMALLOC_CONF"), forks);
		return T_PASS;
	}
	for (unsigned i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
		int status;
		pid_t pid = fork();

		T_CHECK(pid >= 0);
		if (!pid)
			t_preload(argv, false, confs[i]);
		T_CHECK(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			return 77;
		T_CHECKF(!status, "%s: %#x", confs[i], status);
	}
	return T_PASS;
}
