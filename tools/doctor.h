/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

/* rdmalloc doctor: is this machine fit for RDMA in programs that fork? */
int command_doctor(int argc, char **argv);

#endif
