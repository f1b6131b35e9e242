/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PRELOAD_REPORT_H
#define RDM_PRELOAD_REPORT_H

/*
 * What is said of a program when it ends (RDMALLOC_CONF=report:1), and the counts for it, which
 * nobody keeps otherwise. Called by family.c; no lock.
 */

#include <stdbool.h>
#include <stddef.h>

extern bool rdm_report_is_wanted __attribute__((visibility("hidden")));

void rdm_report_open(void);

/* Of blocks, by their usable sizes. */
void rdm_report_served(size_t size);
void rdm_report_freed(size_t size);
/* The pool could not serve a block that was large enough: the next malloc had to. */
void rdm_report_refused(size_t size);

#endif
