/* SPDX-License-Identifier: BSD-2-Clause */
#include "pool_memory.h"

#include <errno.h>
#include <stdio.h>

static int note_nothing(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)context, (void)addr, (void)length, (void)mr;
	return 0;
}

static int forget_nothing(void *context, const struct rdm_mr *mr)
{
	(void)context, (void)mr;
	return 0;
}

static const struct rdm_registrar no_rail = {
	.size = sizeof(struct rdm_registrar),
	.name = "probe",
	.reg = note_nothing,
	.dereg = forget_nothing,
};

int probe_pool_get(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	unsigned kind = (unsigned)(uintptr_t)context;
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	int error;

	(void)device;
	config.name = "probe";
	config.backing = kind & 0xff;
	config.pages = kind >> 8 & 0xff;
	config.fork = kind >> 16;
	if (config.pages == RDM_PAGES_THP || config.pages == RDM_PAGES_2M)
		buffer->extent = PROBE_HUGE;
	/* The smallest: what is tested is the same, and RLIMIT_MEMLOCK may be small. */
	config.slab_size = PROBE_HUGE;
	buffer->owner = rdm_pool_create(&config);
	if (!buffer->owner)
		return errno;
	if (buffer->extent)
		buffer->addr = rdm_aligned_alloc(buffer->owner, PROBE_HUGE, buffer->extent);
	else
		buffer->addr = rdm_malloc(buffer->owner, buffer->length);
	if (buffer->addr)
		return 0;
	error = errno;
	rdm_pool_destroy(buffer->owner);
	return error;
}

int probe_pool_attach(void *context, const struct probe_device *device, struct probe_buffer *buffer)
{
	struct rdm_key key;
	int rail;

	(void)context;
	if (device->ring)
		rail = rdm_pool_add_uring(buffer->owner, device->ring, 0);
	else if (device->pd)
		rail = rdm_pool_add_verbs(buffer->owner, device->pd, device->access);
	else
		rail = rdm_pool_add_rail(buffer->owner, &no_rail, NULL);
	if (rail < 0 || rdm_key(buffer->addr, rail, &key))
		return errno;
	buffer->registered = device->ring || device->pd;
	buffer->lkey = key.lkey;
	buffer->rkey = key.rkey;
	return 0;
}

void probe_pool_put(void *context, struct probe_buffer *buffer)
{
	(void)context;
	rdm_free(buffer->addr);
	/* A pool that stays behind would take its ring's memory with it. */
	if (rdm_pool_destroy(buffer->owner))
		perror("rdm_pool_destroy");
}
