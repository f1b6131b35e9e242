/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: traits [NAME...]
 *
 * What the running kernel does, for tests in shell: a line for each trait, its name, its
 * answer and, where that is unknown, why.
 */
#include <stdio.h>
#include <string.h>

#include "traits.h"

static bool is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	int found = 0;

	for (int i = 0; i < PROBE_TRAITS; i++) {
		const struct probe_trait *trait = probe_trait(i);

		if (!is_wanted(trait->name, argc, argv))
			continue;
		printf("%s %s%s%s\n", trait->name, trait->answer, *trait->why ? " " : "",
		       trait->why);
		found++;
	}
	return argc > 1 && found < argc - 1;
}
