/* SPDX-License-Identifier: BSD-2-Clause */
#include "preloadable.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

#define NAME "librdmalloc-preload.so"
/* As deep as Linux follows scripts that are run by scripts. */
#define SCRIPTS 5

static bool is_there(const char *path)
{
	return !access(path, R_OK);
}

bool preload_find(char *path, size_t size)
{
	const char *given = getenv("RDMALLOC_PRELOAD");
	char self[1024];
	ssize_t length;

	if (given) {
		snprintf(path, size, "%s", given);
		if (is_there(path))
			return true;
		fprintf(stderr, "rdmalloc: RDMALLOC_PRELOAD is %s: %s\n", given, strerror(errno));
		return false;
	}
	length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[length > 0 ? length : 0] = '\0';
	if (strrchr(self, '/')) {
		*strrchr(self, '/') = '\0';
		/* Where libtool keeps both of them. */
		snprintf(path, size, "%s/../../lib/.libs/" NAME, self);
		if (is_there(path))
			return true;
		snprintf(path, size, "%s/../lib/" NAME, self);
		if (is_there(path))
			return true;
	}
	snprintf(path, size, "%s/" NAME, LIBDIR);
	if (is_there(path))
		return true;
	fprintf(stderr,
		"rdmalloc: there is no %s: install rdmalloc again, or say where it is "
		"(RDMALLOC_PRELOAD=FILE)\n",
		path);
	return false;
}

/* The loader ignores LD_PRELOAD outside its own directories where privileges change. */
static bool changes_privileges(const char *program)
{
	struct stat info;

	if (stat(program, &info) || !(info.st_mode & (S_ISUID | S_ISGID)))
		return false;
	return (info.st_mode & S_ISUID && info.st_uid != geteuid()) ||
	       (info.st_mode & S_ISGID && info.st_gid != getegid());
}

static enum fit refuse(const char *program, const char *why)
{
	fprintf(stderr, "rdmalloc: %s %s\n", program, why);
	return FITS_NOT;
}

/* The program behind scripts. 0, or -1 with errno. */
static int resolve(const char **program, struct program *elf)
{
	static char interpreter[sizeof(elf->interpreter)];

	for (unsigned i = 0; i <= SCRIPTS; i++) {
		if (program_read(*program, elf))
			return -1;
		if (!elf->is_script)
			return 0;
		memcpy(interpreter, elf->interpreter, sizeof(interpreter));
		*program = interpreter;
	}
	errno = ELOOP;
	return -1;
}

enum fit preload_fits(const char *program, const char *library)
{
	struct program own, its;
	char text[512];

	if (resolve(&program, &its))
		/* What cannot be read may be run all the same, and what cannot be run says so. */
		return errno == EACCES || errno == ELOOP ? FITS : refuse(program, strerror(errno));
	if (program_read(library, &own) || !own.is_elf)
		return refuse(library, "is no shared library: install rdmalloc again");
	if (!its.is_elf)
		return FITS;
	if (its.class != own.class || its.machine != own.machine) {
		snprintf(text, sizeof(text),
			 "is a program for %s, and %s is for %s: build rdmalloc for it",
			 machine_name(its.machine), library, machine_name(own.machine));
		return refuse(program, text);
	}
	if (!its.is_dynamic)
		return refuse(program, "is linked statically, nothing can be preloaded: link it "
				       "with librdmalloc, or dynamically");
	if (changes_privileges(program))
		return refuse(program, "is set-user-ID: the loader preloads nothing there but from "
				       "its own directories, see ld.so(8)");
	if (its.sanitizer) {
		fprintf(stderr, "rdmalloc: %s has a malloc of %s's and runs without rdmalloc\n",
			program, its.sanitizer);
		return FITS_BESIDE;
	}
	return FITS;
}
