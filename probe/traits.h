/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_PROBE_TRAITS_H
#define RDM_PROBE_TRAITS_H

/*
 * What the running kernel does, found out by asking it: kernels of one version differ.
 * Whoever expects something of a kernel expects it because of these answers.
 *
 * All questions are asked once, in a process of its own; what is asked later gets the
 * answers of then. One thread at a time may call.
 */

#include <stdbool.h>
#include <stddef.h>

enum probe_trait_id {
	PROBE_COW_RULE,
	PROBE_READ_COPIES,
	PROBE_ZERO_PAGE,
	PROBE_HUGE_ZERO_PAGE,
	PROBE_ZERO_SPLIT,
	PROBE_PINNED_FORK,
	PROBE_HUGETLB_FORK,
	PROBE_DIRECT_PINS,
	PROBE_FUSE_PINS,
	PROBE_POPULATE_WRITE,
	PROBE_SOFT_DIRTY,
	PROBE_IO_URING,
	PROBE_URING_PINS,
	PROBE_USERFAULTFD,
	PROBE_KSM,
	PROBE_KSM_PROCESS,
	PROBE_SWAP,
	PROBE_HUGETLB,
	PROBE_THP,
	PROBE_TRAITS
};

struct probe_trait {
	const char *name;
	const char *meaning; /* of "yes", or of the words there are */
	char answer[20];     /* "yes", "no", "unknown", or a word of its own */
	int error;           /* the errno value that came with a "no"; 0: none did */
	char why[160];       /* it is unknown */
};

const struct probe_trait *probe_trait(enum probe_trait_id id);
bool probe_trait_is(enum probe_trait_id id, const char *answer);

/*
 * For tests, in the environment: RDM_PROBE_ZERO_PAGE=private or shared. Memory of the
 * probes that nobody has written is then made so before the probe begins, whatever this
 * kernel gives at a read fault: pages of the process's own, or the shared zero page.
 */

/* What may change while we look: asked of the kernel each time. */
bool probe_has_swap(void);
/* 1, 0, or -1: /proc does not show it. */
int probe_soft_dirty(void);
/* A number of KSM's; -1: this kernel has no KSM. */
long probe_ksm(const char *name);
/* Free pages of 2 MiB. */
long probe_free_hugetlb(void);
/* The mode, and the file that says so; false: this kernel has no THP. */
bool probe_thp(char *mode, size_t mode_size, char *path, size_t path_size);
/* For this process, by somebody above it. */
bool probe_thp_is_disabled(void);
/* There may be none for this process, and why. */
bool probe_thp_is_off(char *why, size_t size);

#endif
