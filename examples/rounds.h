/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef EXAMPLES_ROUNDS_H
#define EXAMPLES_ROUNDS_H

/*
 * Two processes with a socket between them, rounds in which bytes of a pattern go to and fro, and
 * in each a child that writes to its copy of a buffer. Whatever fails ends the process.
 */

#include <stdbool.h>
#include <sys/types.h>

enum { ROUND_BYTES = 100000 };

/*
 * Forks, and calls run() in both processes; the socket is to the other one. What main() returns. Both
 * libfabric and UCX do not like to be inherited: nothing of theirs may be open yet.
 */
int rounds_in_two(void (*run)(int other, bool is_first));

void rounds_fill(unsigned char *buffer, unsigned round);
bool rounds_is_filled(const unsigned char *buffer, unsigned round);

pid_t rounds_begin_child(unsigned char *buffer);
void rounds_end_child(pid_t child);

/* Both sides serve each other's last calls, by serve(), and end together. */
void rounds_part(int other, void (*serve)(void));

#endif
