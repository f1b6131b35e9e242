/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_TOOLS_DOCTOR_H
#define RDM_TOOLS_DOCTOR_H

/* rdmalloc doctor: is this machine fit for RDMA in programs that fork? */
int rdm_doctor(int argc, char **argv);

#endif
