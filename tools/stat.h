/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_STAT_H
#define TOOLS_STAT_H

/* rdmalloc stat: the figures of one process, once. */
int command_stat(int argc, char **argv);

#endif
