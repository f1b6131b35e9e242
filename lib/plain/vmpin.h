/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_VMPIN_H
#define RDM_VMPIN_H

/*
 * How many pages of this process the kernel counts as pinned, by whomever: VmPin in
 * /proc/self/status, which is as long as the process has groups and CPUs.
 * Called while fork() runs, and by free(): no lock, no allocation, a small stack, and errno stays.
 */

#include <stdbool.h>
#include <stddef.h>

/* False: it cannot be read (no descriptor, no /proc), and nobody knows how many there are. */
bool rdm_vmpin_read(size_t *pages);

/*
 * Before files may no longer be opened: from now on none is. Where nothing is pinned now,
 * nothing will be, because who may not open a file makes no device; else nobody knows.
 */
void rdm_vmpin_read_last(void);
/* Whether that was said: who would open a file of /proc for something else must not either. */
bool rdm_vmpin_is_closed(void);

#endif
