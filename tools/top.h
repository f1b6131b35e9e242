/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_TOP_H
#define TOOLS_TOP_H

/* rdmalloc top: processes that publish, and the pools of one of them, again and again. */
int command_top(int argc, char **argv);

#endif
