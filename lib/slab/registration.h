/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RDM_REGISTRATION_H
#define RDM_REGISTRATION_H

/*
 * Which slabs are registered with which rails of their set: written to before, and looked up
 * by keys.c since. All of it happens under the quiesce lock; the workers of one that is inside
 * register, too, each its own rails.
 */

#include "slab/slab.h"

/* Longest slab that every rail can register, whole granules; SIZE_MAX: any. */
size_t rdm_slabs_max_length(const struct rdm_slab_set *set);

/* Rails that new slabs are registered with, a bit for each. */
unsigned rdm_slabs_open_rails(const struct rdm_slab_set *set);
/* In a child: whether it is what a fork left, not registered. Under the quiesce lock, or while fork() runs. */
bool rdm_slab_is_inherited(const struct rdm_slab *slab);
/*
 * Rails that mr[] is valid of, a bit for each: what `keyed` says, unless the slab is
 * inherited. fork() writes to no record: the child would copy the pages of all.
 */
unsigned rdm_slab_rails(const struct rdm_slab *slab);
/* For assertions: whether the table of keys says of it what its record says; nobody registers it meanwhile. */
bool rdm_slab_keys_agree(const struct rdm_slab *slab);
/* Bytes of it that rails have. */
size_t rdm_slab_registered_bytes(const struct rdm_slab *slab);
/* Writes to a slab that KSM leaves alone (prepare.h), and registers it. 0 or an errno value. */
int rdm_slab_register(struct rdm_slab *slab, int rail);
/* Nothing, if it is not registered with that rail. 0 or an errno value: then it stays so. */
int rdm_slab_deregister(struct rdm_slab *slab, int rail);

/* Registers all slabs with a rail that is open. 0 or errno: then some are to be detached. */
int rdm_slabs_attach(struct rdm_slab_set *set, int rail);
int rdm_slabs_detach(struct rdm_slab_set *set, int rail);

/* Closes every rail; inherited: in a child, whose parent still has them. */
void rdm_slabs_close_rails(struct rdm_slab_set *set, bool inherited);

#endif
