/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program that is not linked with the library loads it by dlopen(RTLD_NOW),
 * also late, when others have used up the static TLS; its malloc stays libc's.
 */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
	rdm_pool *(*pool_create)(const struct rdm_pool_config *config);
	int (*pool_destroy)(rdm_pool *pool);
	int (*pool_trim)(rdm_pool *pool, size_t keep);
	void *(*malloc)(rdm_pool *pool, size_t size);
	void (*free)(void *ptr);
	const char *(*version)(void);
} rdm;

static void *library;

static void load_function(const char *name, void *slot)
{
	void *found = dlsym(library, name);

	T_CHECKF(found, "%s: %s", name, dlerror());
	memcpy(slot, &found, sizeof(found));
}

static void load_library(const char *path)
{
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	T_CHECKF(library, "dlopen: %s", dlerror());
	load_function("rdm_pool_create", &rdm.pool_create);
	load_function("rdm_pool_destroy", &rdm.pool_destroy);
	load_function("rdm_pool_trim", &rdm.pool_trim);
	load_function("rdm_malloc", &rdm.malloc);
	load_function("rdm_free", &rdm.free);
	load_function("rdm_version", &rdm.version);
}

static const char *home_of(const char *symbol)
{
	void *found = dlsym(RTLD_DEFAULT, symbol);
	Dl_info info;

	T_CHECKF(found && dladdr(found, &info), "%s is nowhere", symbol);
	return info.dli_fname;
}

/* A sanitizer has a malloc of its own: what counts is that it is the same as before. */
static void check_malloc(const char *before)
{
	static const char *const names[] = { "malloc",  "free",           "calloc",
					     "realloc", "posix_memalign", "aligned_alloc" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *home = home_of(names[i]);

		T_CHECKF(!strcmp(home, before), "%s is of %s", names[i], home);
		T_CHECKF(T_SANITIZED || strstr(home, "libc.so"), "%s is of %s", names[i], home);
	}
	/* Nothing of the private jemalloc can be seen from outside. */
	T_CHECK(!dlsym(library, "mallocx") && !dlsym(library, "rdm_je_mallocx"));
}

static int child(void *pool)
{
	void *none;

	none = rdm.malloc(pool, 1);
	return none || errno != ECHILD ? T_FAIL : T_PASS;
}

static void *use(void *arg)
{
	rdm_pool *pool = rdm.pool_create(NULL);
	void *block;

	(void)arg;
	T_CHECKF(pool, "rdm_pool_create: %s", strerror(errno));
	for (size_t size = 1; size <= 8 * T_MIB; size *= 2) {
		block = rdm.malloc(pool, size);
		T_CHECKF(block, "rdm_malloc: %s", strerror(errno));
		memset(block, 1, size);
		rdm.free(block);
	}
	T_CHECK(!rdm.pool_trim(pool, 0));
	T_CHECK(!rdm.pool_destroy(pool));
	return NULL;
}

/* A thread from before the library was there, and others that end. */
static struct t_event loaded;

static void *early_thread(void *arg)
{
	t_event_wait(&loaded);
	return use(arg);
}

static int scene(void *arg)
{
	const char *tls_user = arg, *before = home_of("malloc");
	char *mixed;
	pthread_t early, late[4];
	void *other;
	rdm_pool *pool;

	t_event_init(&loaded);
	T_CHECK(!pthread_create(&early, NULL, early_thread, NULL));
	if (tls_user) {
		other = dlopen(tls_user, RTLD_NOW);
		T_CHECKF(other, "dlopen: %s", dlerror());
	}
	load_library(T_LIBRDMALLOC);
	t_event_set(&loaded);
	T_CHECK(!strcmp(rdm.version(), "0.1.0"));
	check_malloc(before);
	mixed = strdup("libc's own");
	free(mixed);
	for (unsigned i = 0; i < 4; i++)
		T_CHECK(!pthread_create(&late[i], NULL, use, NULL));
	use(NULL);
	T_CHECK(!pthread_join(early, NULL));
	for (unsigned i = 0; i < 4; i++)
		T_CHECK(!pthread_join(late[i], NULL));
	pool = rdm.pool_create(NULL);
	T_CHECK(pool);
	t_fork_passes(child, pool);
	T_CHECK(!rdm.pool_destroy(pool));
	/* It stays: threads that used it may still end. */
	T_CHECK(!dlclose(library));
	use(NULL);
	return T_PASS;
}

int main(void)
{
	T_CHECKF(!access(T_LIBRDMALLOC, R_OK), "no %s", T_LIBRDMALLOC);
	t_fork_passes(scene, NULL);
	t_say("first: loaded and used");
	t_fork_passes(scene, (void *)T_TLS_USER);
	t_say("after a library with much static TLS: loaded and used");
	return T_PASS;
}
