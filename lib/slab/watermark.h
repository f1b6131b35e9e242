/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_WATERMARK_H
#define RDM_WATERMARK_H

/*
 * When a set of slabs has too little left to carve, and whether the background
 * thread was told. The carve that leaves less than the watermark asks, once;
 * slabs that come or go, by whomever, make the next such carve ask again. A
 * thread that could not help waits for that, too, so that it fails once.
 *
 * Takes the set's lock, where nothing else is said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rdm_slab_set;

enum rdm_watermark_state {
	RDM_WATERMARK_READY, /* the next carve that leaves too little asks */
	RDM_WATERMARK_ASKED,
	RDM_WATERMARK_MORE,  /* one slab was made, it takes more */
	RDM_WATERMARK_STUCK, /* none could be made: nobody asks until something changes */
};

/* Of a set, under its lock, but for bytes, which do not change. */
struct rdm_watermark {
	size_t bytes; /* 0: none */
	size_t idle;  /* bytes of slabs with nothing carved */
	bool whole;   /* only idle slabs count: what is left of others was of no use */
	enum rdm_watermark_state state;
	uint64_t turn; /* of two sets the lower one was first */
	int node;      /* of the thread that asked; -1: any */
};

/* With the set's lock held, after a carve: whether to wake the background thread. */
bool rdm_watermark_crossed(struct rdm_slab_set *set);

/* A run that is no longer than a slab was not to be had: if in spite of the watermark, `whole`. */
void rdm_watermark_missed(struct rdm_slab_set *set);

/* Slabs or rails have changed: whoever has asked may have what it needs, or no longer want it. */
void rdm_watermark_renew(struct rdm_slab_set *set);

/* For the background thread. When it was asked, 0: it was not. */
uint64_t rdm_watermark_turn(struct rdm_slab_set *set);
/* Whether it has just been asked, and has not made a slab since. */
bool rdm_watermark_is_new(struct rdm_slab_set *set);
/* Whether there are `more` bytes than the watermark: then the question is answered. */
bool rdm_watermark_answered(struct rdm_slab_set *set, size_t more);
/* It has made a slab, or it could not. */
void rdm_watermark_made(struct rdm_slab_set *set, bool made);

#endif
