/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_WORDS_H
#define RDM_PROBE_WORDS_H

/*
 * What the library says on stderr while probes run. In the middle of a table it is in the
 * way, and as the reason of one cell it is better than an error number: so stderr is a file
 * in memory meanwhile.
 */

#include <sys/types.h>

#include "probe.h"

struct probe_words {
	int file; /* -1: it could not be made, and stderr is what it was */
	int was;  /* stderr, where begin() replaced it; else -1 */
	off_t seen;
};

/* For a worker whose stderr is words->file; somebody else will pass on what it says. */
void probe_words_open(struct probe_words *words);
/* This process's own stderr, until probe_words_end(); passed on, too, if it aborts. */
void probe_words_begin(struct probe_words *words);
/* One probe has ended: where it could not be, the library's first line is the reason. */
void probe_words_take(struct probe_words *words, struct probe_outcome *out);
/* Writes to fd what nobody has taken, each line once, and forgets it. */
void probe_words_pass(struct probe_words *words, int fd);
void probe_words_end(struct probe_words *words);

#endif
