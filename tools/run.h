/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_RUN_H
#define RDM_TOOLS_RUN_H

/* rdmalloc run: becomes the program, with the preload in its environment. */
int rdm_run(int argc, char **argv);

#endif
