/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * malloc is called from anywhere: by the loader before it is first called by the program, from
 * several threads at once for the first time, by threads that end, when their destructors run
 * and after, and when the process ends. Each case is a process of its own, because what comes
 * first counts.
 */
#include "start.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 30000, THREADS = 8 };

int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library);
extern void *__dso_handle;

static void use_all(void)
{
	static const size_t sizes[] = { 100, LARGE, 300000, 3 * T_MIB };

	for (unsigned i = 0; i < 4; i++) {
		char *block = malloc(sizes[i]);

		T_CHECK(block);
		block[sizes[i] - 1] = 1;
		block = realloc(block, 2 * sizes[i]);
		T_CHECK(block && block[sizes[i] - 1] == 1);
		free(block);
		block = calloc(1, sizes[i]);
		T_CHECK(block && !block[0] && !block[sizes[i] - 1]);
		free(block);
	}
}

static void miss(const char *name)
{
	T_CHECK(!dlsym(RTLD_DEFAULT, name));
}

static void dlsym_first(void)
{
	miss("there_is_none_1");
	miss("there_is_none_2");
	T_CHECK(dlsym(RTLD_DEFAULT, "getpid"));
	use_all();
}

static void dlopen_first(void)
{
	for (unsigned i = 0; i < 3; i++)
		T_CHECK(!dlopen("/nonexistent/library.so", RTLD_NOW));
	use_all();
}

/* The program's first large block comes between its error and its question. */
static void error_stays(void)
{
	const char *text;
	void *block;

	miss("the_name_that_is_missing");
	block = malloc(LARGE);
	text = dlerror();
	T_CHECKF(text && strstr(text, "the_name_that_is_missing"), "dlerror(): %s", text);
	free(block);
}

static pthread_barrier_t barrier;

static void *miss_together(void *arg)
{
	pthread_barrier_wait(&barrier);
	miss("there_is_none_1");
	miss("there_is_none_2");
	use_all();
	return arg;
}

/* The thread's stack comes from mmap(), its other memory by calloc(). */
static void dlsym_together(void)
{
	pthread_t thread[THREADS];

	T_CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_create(&thread[i], NULL, miss_together, NULL));
	for (unsigned i = 0; i < THREADS; i++)
		T_CHECK(!pthread_join(thread[i], NULL));
}

/* Before main(), and before constructors of an ordinary kind. */
static bool in_constructor;

__attribute__((constructor(103))) static void construct(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "constructor"))
		return;
	miss("there_is_none_1");
	miss("there_is_none_2");
	use_all();
	in_constructor = true;
}

static void constructor(void)
{
	T_CHECK(in_constructor);
}

enum { KEYS = 6, ROUNDS = 4 };
static pthread_key_t keys[KEYS];
static unsigned rounds;

/* Again in each round that there is, until the C library has had enough. */
static void destroy(void *value)
{
	uintptr_t left = (uintptr_t)value;

	use_all();
	__atomic_add_fetch(&rounds, 1, __ATOMIC_RELAXED);
	if (left > 1)
		for (unsigned i = 0; i < KEYS; i++)
			if (!pthread_getspecific(keys[i])) {
				T_CHECK(!pthread_setspecific(keys[i], (void *)(left - 1)));
				break;
			}
}

static void destroy_first(void *object)
{
	(void)object;
	use_all();
}

static void *with_keys(void *arg)
{
	for (unsigned i = 0; i < KEYS; i++)
		T_CHECK(!pthread_setspecific(keys[i], (void *)(uintptr_t)(2 * ROUNDS)));
	T_CHECK(!__cxa_thread_atexit_impl(destroy_first, NULL, &__dso_handle));
	return arg;
}

static void *busy_with_keys(void *arg)
{
	use_all();
	return with_keys(arg);
}

static void destructors(void)
{
	for (unsigned i = 0; i < KEYS; i++)
		T_CHECK(!pthread_key_create(&keys[i], destroy));
	for (unsigned i = 0; i < 30; i++) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, NULL, i % 2 ? with_keys : busy_with_keys, NULL));
		T_CHECK(!pthread_join(thread, NULL));
	}
	T_CHECKF(rounds >= 30 * KEYS, "%u destructors", rounds);
}

/* So many keys that the C library allocates for one of them. */
static void many_keys(void)
{
	pthread_key_t key;

	for (unsigned i = 0; i < 100; i++)
		T_CHECK(!pthread_key_create(&key, NULL));
	for (unsigned i = 0; i < KEYS; i++)
		T_CHECK(!pthread_key_create(&keys[i], destroy));
	for (unsigned i = 0; i < 20; i++) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, NULL, with_keys, NULL));
		T_CHECK(!pthread_join(thread, NULL));
	}
}

static void (*touch)(void);
static unsigned ended;

static void *last_free(void *arg)
{
	if (arg)
		touch();
	__atomic_add_fetch(&ended, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void open_plugin(void)
{
	const char *build = getenv("RDM_BUILDDIR");
	char path[4096];
	void *plugin, *symbol;

	snprintf(path, sizeof(path), "%s/tests/preload/.libs/plugin.so", build ? build : ".");
	plugin = dlopen(path, RTLD_NOW);
	T_CHECKF(plugin, "%s", dlerror());
	symbol = dlsym(plugin, "plugin_touch");
	T_CHECK(symbol);
	memcpy(&touch, &symbol, sizeof(touch));
}

/*
 * A thread frees at its end what others' stacks had, and some threads do nothing else with
 * malloc. The stacks are large, so that the C library keeps few of them.
 */
static void ends(void)
{
	pthread_attr_t attr;
	size_t before = 0;

	open_plugin();
	T_CHECK(!pthread_attr_init(&attr));
	T_CHECK(!pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
	T_CHECK(!pthread_attr_setstacksize(&attr, 16 * T_MIB));
	for (unsigned made = 0; made < 1000; made++) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, &attr, last_free, made % 2 ? &ended : NULL));
		while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) + 20 < made)
			sched_yield();
		if (made == 200)
			before = t_rss();
	}
	while (__atomic_load_n(&ended, __ATOMIC_SEQ_CST) < 1000)
		sched_yield();
	T_CHECKF(t_rss() < before + 16 * T_MIB, "%zu bytes are left of threads", t_rss() - before);
	use_all();
}

/* On a stack of the program's, a thread frees the last of its own. */
static void own_stack(void)
{
	pthread_attr_t attr;
	char *stack = mmap(NULL, T_MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	open_plugin();
	T_CHECK(stack != MAP_FAILED);
	T_CHECK(!pthread_attr_init(&attr));
	T_CHECK(!pthread_attr_setstack(&attr, stack, T_MIB));
	for (unsigned i = 0; i < 300; i++) {
		pthread_t thread;

		T_CHECK(!pthread_create(&thread, &attr, last_free, &ended));
		T_CHECK(!pthread_join(thread, NULL));
	}
	use_all();
}

/* The process's status comes through only if none of these ends it. */
static void at_end(void)
{
	use_all();
}

static bool with_destructor;

__attribute__((destructor)) static void destruct(void)
{
	if (with_destructor)
		use_all();
}

static void end_of_process(void)
{
	with_destructor = true;
	T_CHECK(!atexit(at_end));
}

static const struct {
	const char *name;
	void (*call)(void);
} cases[] = {
	{ "dlsym", dlsym_first },       { "dlopen", dlopen_first },
	{ "error", error_stays },       { "together", dlsym_together },
	{ "constructor", constructor }, { "destructors", destructors },
	{ "keys", many_keys },          { "ends", ends },
	{ "stack", own_stack },         { "exit", end_of_process },
};

int main(int argc, char **argv)
{
	for (unsigned i = 0; argc > 1 && i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].call();
			exit(0);
		}
	t_preload(argv, false, NULL);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		t_run(argv, cases[i].name, "");
		t_run(argv, cases[i].name, "threshold:0");
	}
	return T_PASS;
}
