/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_INFO_H
#define RDM_TOOLS_INFO_H

/* rdmalloc info: what this build is, and what can be set. */
int rdm_info(int argc, char **argv);

#endif
