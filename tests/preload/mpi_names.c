/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What MPI allocates for communication comes from the pool, of any size: called from C and
 * Fortran, with a tool behind the preload, in a global scope and in one of a plugin's own.
 */
#include "start.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static int is_right_in(void *arg)
{
	const int *scope = arg;
	const char *build = getenv("RDM_BUILDDIR"), *why;
	char path[4096];
	const char *(*go)(void);
	void *plugin, *symbol;

	snprintf(path, sizeof(path), "%s/tests/preload/.libs/libmpi_tool.so", build ? build : ".");
	plugin = dlopen(path, RTLD_NOW | *scope);
	T_CHECKF(plugin, "%s", dlerror());
	symbol = dlsym(plugin, "go");
	T_CHECK(symbol);
	memcpy(&go, &symbol, sizeof(symbol));
	why = go();
	T_CHECKF(!why, "%s", why);
	return T_PASS;
}

int main(int argc, char **argv)
{
	(void)argc;
	t_preload(argv, false, NULL);
	t_fork_passes(is_right_in, &(int){ RTLD_LOCAL });
	t_fork_passes(is_right_in, &(int){ RTLD_GLOBAL });
	return T_PASS;
}
