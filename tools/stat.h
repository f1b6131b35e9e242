/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_STAT_H
#define RDM_TOOLS_STAT_H

/* rdmalloc stat: the figures of one process, once. */
int rdm_stat(int argc, char **argv);

#endif
