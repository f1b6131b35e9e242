/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_DISCARD_H
#define RDM_DISCARD_H

/*
 * Pages of plain memory (plain.h) go back to the kernel, or to another block. Not those
 * that are registered (pins.h). While the kernel counts pins that nobody announced, nothing is
 * discarded: whoever holds such pins goes by addresses, and would keep other pages than the
 * block has that is there next.
 *
 * Runs are discarded by carve.c, inside the gate and with no lock; the others are called
 * with no lock at all.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slab/slab.h"

/* Runs of one set that nobody has, and nobody can have meanwhile. False: some of it is there still. */
bool rdm_discard_runs(const struct rdm_run *run, size_t count);

/* What a block has, in plain memory, `usable` bytes of it: the first `size` become zero. */
void rdm_discard_zero(char *block, size_t size, size_t usable);

/*
 * Whole pages of one block become another's, and `from` has none. False: nothing was moved,
 * and is to be copied.
 */
bool rdm_discard_move(void *to, void *from, size_t length);

#endif
