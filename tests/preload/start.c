/* SPDX-License-Identifier: BSD-2-Clause */
#include "start.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void t_preload(char **argv, bool test, const char *conf)
{
	const char *build = getenv("RDM_BUILDDIR");
	const char *before = getenv("LD_PRELOAD");
	char path[4096];

	if (T_SANITIZED)
		t_skip("a sanitizer has a malloc of its own");
	if (before && strstr(before, "librdmalloc-preload")) {
		/* Where there is none, what is no block of the pool cannot be announced. */
		dlopen("libibverbs.so.1", RTLD_NOW | RTLD_GLOBAL);
		return;
	}
	snprintf(path, sizeof(path), "%s/lib/.libs/librdmalloc-preload%s.so", build ? build : ".",
		 test ? "-test" : "");
	T_CHECKF(!access(path, R_OK), "there is no %s", path);
	T_CHECK(!setenv("LD_PRELOAD", path, 1));
	if (conf)
		T_CHECK(!setenv("RDMALLOC_CONF", conf, 1));
	execv("/proc/self/exe", argv);
	T_CHECKF(0, "execv: %s", strerror(errno));
}

bool t_run(char **argv, const char *what, const char *conf)
{
	char *args[] = { argv[0], (char *)(uintptr_t)what, NULL };
	int status;
	pid_t pid;

	T_CHECK(!setenv("RDMALLOC_CONF", conf, 1));
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid) {
		execv("/proc/self/exe", args);
		_exit(126);
	}
	T_CHECK(waitpid(pid, &status, 0) == pid);
	T_CHECKF(!status || status == T_SKIP << 8, "%s, %s: status %#x", what,
		 *conf ? conf : "as ever", (unsigned)status);
	return status;
}

static void call(const char *name, void *addr, size_t length)
{
	int (*function)(void *, size_t);
	void *symbol = dlsym(RTLD_DEFAULT, name);

	if (!symbol)
		t_skip("built without libibverbs: there is no %s()", name);
	memcpy(&function, &symbol, sizeof(symbol));
	T_CHECKF(!function(addr, length), "%s(%p, %zu)", name, addr, length);
}

void t_dontfork(void *addr, size_t length)
{
	call("ibv_dontfork_range", addr, length);
}

void t_dofork(void *addr, size_t length)
{
	call("ibv_dofork_range", addr, length);
}
