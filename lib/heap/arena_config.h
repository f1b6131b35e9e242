/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_ARENA_CONFIG_H
#define RDM_ARENA_CONFIG_H

/* The argument of jemalloc 5.3's experimental.arenas_create_ext, which no header of it has. */

#include <stdbool.h>

#include <jemalloc/jemalloc.h>

struct rdm_arena_config {
	extent_hooks_t *extent_hooks;
	bool metadata_use_hooks; /* false: metadata lies in ordinary memory */
};

#endif
