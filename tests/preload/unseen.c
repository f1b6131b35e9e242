/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Something pins memory without anybody telling the preload (io_uring): fork() notices by
 * what the kernel counts, says so, copies all large blocks for the child, and no byte is lost.
 */
#include "start.h"

#include <stdlib.h>

#include "probe.h"

static int strike(void *arg)
{
	struct probe_outcome *out = arg;

	probe_run(&probe_uring, &probe_fork_lives, &probe_malloc_written, out);
	if (out->verdict == PROBE_SKIPPED)
		t_skip("%s", out->reason);
	T_CHECKF(out->verdict == PROBE_COHERENT, "%s %s", probe_verdict_name(out->verdict),
		 out->reason);
	return T_PASS;
}

int main(int argc, char **argv)
{
	struct probe_outcome out;
	struct t_caught caught;

	(void)argc;
	t_preload(argv, false, NULL);
	t_watchdog(60);
	t_catch(&caught, strike, &out);
	if (caught.status == T_SKIP << 8)
		t_skip("%s", caught.err);
	t_caught_line(&caught, "pinned", "copied for the child");
	return T_PASS;
}
