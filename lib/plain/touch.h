/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOUCH_H
#define RDM_TOUCH_H

/*
 * Before a registration pins memory: its pages are made present, written and ours alone, as
 * a write would make them that changes nothing. No lock, no allocation, a small stack.
 */

#include <stddef.h>

/*
 * Memory of any origin. Only what is private and anonymous is written to: a shared mapping
 * needs no write, and a file would have its holes filled and its times changed. What cannot be
 * written is left as it is.
 */
void rdm_touch(void *addr, size_t length);

#endif
