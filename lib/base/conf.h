/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_CONF_H
#define RDM_CONF_H

/*
 * RDMALLOC_CONF="key:value,key:value", read once, when the library is loaded;
 * ignored in set-user-ID programs. A key or value that cannot be understood
 * gets a line on stderr and leaves the default in force. The table in conf.c
 * is the one place where keys are described.
 */

#include <stdbool.h>
#include <stddef.h>

#define RDM_CONF_TEXT_BYTES 256

struct rdm_conf {
	size_t reserve;
	size_t slab_size;
	size_t limit;
	size_t watermark;
	size_t magazine;
	unsigned backing;
	unsigned pages;
	unsigned fork;
	int node;
	unsigned log;
	unsigned fork_init; /* enum rdm_conf_fork_init */
	unsigned publish;   /* 0, 1 */
	/* What only the preload looks at. */
	unsigned enabled; /* 0, 1 */
	size_t threshold;
	unsigned preload_fork; /* enum rdm_fork_policy; RDM_FORK_DEFAULT: registered */
	unsigned mpi_alloc;    /* 0, 1 */
	unsigned mr_reuse;     /* 0, 1 */
	unsigned report;       /* enum rdm_conf_report */
	char report_file[RDM_CONF_TEXT_BYTES];
};

/* Whether a verbs rail calls ibv_fork_init() where the kernel needs it. */
enum rdm_conf_fork_init {
	RDM_FORK_INIT_AUTO,
	RDM_FORK_INIT_NEVER,
};

/* What is said of a program when it ends. */
enum rdm_conf_report {
	RDM_REPORT_NONE,
	RDM_REPORT_TEXT,
	RDM_REPORT_JSON,
};

enum rdm_conf_type {
	RDM_CONF_SIZE, /* bytes, with an optional suffix K, M, G or T */
	RDM_CONF_INT,
	RDM_CONF_WORD, /* one of a list of words */
	RDM_CONF_TEXT, /* anything without a comma, shorter than RDM_CONF_TEXT_BYTES */
};

/* A row of the table: what people who list the options need. */
struct rdm_conf_key {
	const char *name;
	enum rdm_conf_type type;
	size_t offset;            /* of the field in struct rdm_conf */
	const char *const *words; /* RDM_CONF_WORD: in the order of the enum, NULL-ended */
	const char *standard;     /* the default, as one would write it */
	const char *meaning;
};

extern const struct rdm_conf_key rdm_conf_keys[];
extern const size_t rdm_conf_key_count;

const struct rdm_conf *rdm_conf(void);

/* "8M" to bytes. False when it is not a size. */
bool rdm_conf_parse_size(const char *text, size_t length, size_t *bytes);

#endif
