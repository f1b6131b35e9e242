/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "read.h"

/* "memory" in "cpu,memory" */
static bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (; words; words = strchr(words, ',')) {
		words += *words == ',';
		if (!strncmp(words, word, length) && (!words[length] || words[length] == ','))
			return true;
	}
	return false;
}

/* From lines "4:memory:/path" (version 1) or "0::/path". */
static bool find_path(const char *controller, char *path, size_t size, bool *old)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	bool found = false;
	char line[4096];

	*old = false;
	while (file && !*old && fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':');
		char *own = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!own)
			continue;
		line[strcspn(line, "\n")] = '\0';
		*own++ = '\0';
		*old = has_word(controllers + 1, controller);
		if (!*old && controllers[1])
			continue;
		snprintf(path, size, "%s", own);
		found = true;
	}
	if (file)
		fclose(file);
	return found;
}

/* From "32 31 0:35 ROOT WHERE options ... - cgroup source OPTIONS". */
static bool find_mount(const char *controller, bool old, char *root, char *where)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char line[4096];

	while (file && !found && fgets(line, sizeof(line), file)) {
		const char *rest = strstr(line, " - ");
		char type[32], options[1024];

		found = rest && sscanf(rest, " - %31s %*s %1023s", type, options) == 2 &&
			!strcmp(type, old ? "cgroup" : "cgroup2") &&
			(!old || has_word(options, controller)) &&
			sscanf(line, "%*s %*s %*s %2047s %2047s", root, where) == 2;
	}
	if (file)
		fclose(file);
	return found;
}

bool each_cgroup(const char *controller, void (*each)(const char *directory, void *context),
		 void *context)
{
	char path[2048], root[2048], where[2048], directory[4096];
	const char *below = path;
	struct stat info;
	bool old;

	if (!find_path(controller, path, sizeof(path), &old) ||
	    !find_mount(controller, old, root, where))
		return false;
	/* A container may see a part of the tree only. */
	if (strcmp(root, "/") != 0 && !strncmp(path, root, strlen(root)))
		below += strlen(root);
	snprintf(directory, sizeof(directory), "%s%s", where, below);
	if (strstr(below, "/..") || stat(directory, &info))
		snprintf(directory, sizeof(directory), "%s", where);
	while (strlen(directory) > strlen(where)) {
		if (directory[strlen(directory) - 1] != '/')
			each(directory, context);
		*strrchr(directory, '/') = '\0';
	}
	each(where, context);
	return true;
}
