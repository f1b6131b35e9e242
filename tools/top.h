/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_TOP_H
#define RDM_TOOLS_TOP_H

/* rdmalloc top: processes that publish, and the pools of one of them, again and again. */
int rdm_top(int argc, char **argv);

#endif
