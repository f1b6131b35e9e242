/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_RUN_H
#define TOOLS_RUN_H

/* rdmalloc run: becomes the program, with the preload in its environment. */
int command_run(int argc, char **argv);

#endif
