/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_INFO_H
#define TOOLS_INFO_H

/* rdmalloc info: what this build is, and what can be set. */
int command_info(int argc, char **argv);

#endif
