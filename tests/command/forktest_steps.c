/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rdmalloc forktest of a library in which a step of the recipe can be dropped: then it
 * must find rdmalloc's memory lost.
 */
#include "support.h"
#include "tools/forktest.h"

int main(void)
{
	char name[] = "forktest", engine[] = "--engine=vmsplice",
	     hazard[] = "--hazard=none,fork,thp-zeros";
	char memory[] = "--memory=rdmalloc-anon";
	char *argv[] = { name, engine, hazard, memory, NULL };
	int status = command_forktest(4, argv);

	if (status == T_SKIP)
		t_skip("forktest: nothing could be tested");
	return status;
}
