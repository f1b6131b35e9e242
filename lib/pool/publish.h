/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PUBLISH_H
#define RDM_PUBLISH_H

/*
 * RDMALLOC_CONF=publish:true: a thread that puts a picture of all pools (picture_layout.h) into a memfd,
 * once a second, or more seldom where that would take more than a fiftieth of a CPU. Whoever may
 * trace the process opens it through /proc/PID/fd; nobody else can, and nothing is left when the
 * process ends. Without the key there is no thread and no memfd. A child has neither
 * until it allocates.
 */

#include <stdatomic.h>
#include <stdbool.h>

/* Under the quiesce lock: starts the thread if it is wanted and not there. */
void rdm_publish_start(void);

/* A child whose parent publishes, and that does not yet. */
extern _Atomic bool rdm_publish_due __attribute__((visibility("hidden")));
/* Starts its thread. */
void rdm_publish_resume(void);

/* In the child: what the parent publishes is not the child's. */
void rdm_publish_postfork_child(void);

#endif
