/* SPDX-License-Identifier: BSD-2-Clause */
#include "sync/fork_count.h"

#include <stdatomic.h>

static _Atomic uint64_t forks, last_ns;

void rdm_fork_counted(uint64_t ns)
{
	atomic_store(&last_ns, ns);
	atomic_fetch_add(&forks, 1);
}

uint64_t rdm_fork_count(void)
{
	return atomic_load(&forks);
}

uint64_t rdm_fork_last_ns(void)
{
	return atomic_load(&last_ns);
}
