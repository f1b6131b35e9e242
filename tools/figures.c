/* SPDX-License-Identifier: BSD-2-Clause */
#include "figures.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "rdmalloc.h"

/* clang-format off */
#define FIELD(name) offsetof(struct rdm_picture_pool, name)
const struct heap_figure heap_figures[] = {
	{ "slabs", FIELD(slabs), GAUGE, "Slabs of the pool." },
	{ "slab_bytes", FIELD(slab_bytes), GAUGE, "Bytes of its slabs." },
	{ "carved_bytes", FIELD(carved_bytes), GAUGE, "Bytes that the arena has taken from slabs." },
	{ "live_bytes", FIELD(live_bytes), GAUGE, "Bytes in live blocks." },
	{ "live_blocks", FIELD(live_blocks), GAUGE, "Live blocks." },
	{ "magazine_bytes", FIELD(magazine_bytes), GAUGE, "Bytes in free blocks that threads keep." },
	{ "depot_bytes", FIELD(depot_bytes), GAUGE, "Bytes in free blocks that any thread can have." },
	{ "pinned_bytes", FIELD(pinned_bytes), GAUGE, "Bytes that are registered." },
	{ "quarantined_bytes", FIELD(quarantined), GAUGE, "Bytes that a rail refused to deregister." },
	{ "slab_size", FIELD(slab_size), GAUGE, "Bytes of one slab." },
	{ "limit_bytes", FIELD(limit), GAUGE, "Bytes of slabs at most; 0: no limit." },
	{ "registrations", FIELD(registrations), COUNTER, "Calls of a registrar." },
	{ "deregistrations", FIELD(deregistrations), COUNTER, "Calls that ended a registration." },
	{ "growths", FIELD(growths), COUNTER, "Slabs made." },
	{ "background_growths", FIELD(background_growths), COUNTER, "Slabs made by the background thread." },
	{ "refills", FIELD(refills), COUNTER, "Times that a thread asked the depot for blocks." },
	{ "refills_served", FIELD(refills_served), COUNTER, "Times that the depot had some." },
	{ "audited_pages", FIELD(audit_pages), GAUGE, "Pages that the last audit looked at; 0: there was none." },
	{ "audit_violations", FIELD(audit_violations), GAUGE, "Pages that the last audit found unfit." },
};
/* clang-format on */
const size_t heap_figure_count = sizeof(heap_figures) / sizeof(heap_figures[0]);

uint64_t heap_figure(const struct rdm_picture_pool *pool, const struct heap_figure *figure)
{
	uint64_t value;

	memcpy(&value, (const char *)pool + figure->offset, sizeof(value));
	return value;
}

/* A number that somebody made up may be larger than JSON's integers here. */
json_t *json_number(uint64_t number)
{
	return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

static json_t *pool_json(const struct rdm_picture_pool *pool)
{
	json_t *rails = json_array();
	json_t *value;

	for (unsigned i = 0; i < RDM_PICTURE_RAILS; i++)
		if (*pool->rail_names[i])
			json_array_append_new(rails, json_string(pool->rail_names[i]));
	value = json_pack("{s:s,s:s,s:s,s:s,s:i,s:b,s:o,s:f}", "name", pool->name, "backing",
			  heap_backing(pool), "pages", heap_pages(pool), "fork", heap_policy(pool),
			  "node", (int)pool->node, "inherited",
			  (pool->flags & RDM_PICTURE_POOL_INHERITED) != 0, "rails", rails,
			  "fragmentation", heap_fragmentation(pool));
	for (size_t i = 0; i < heap_figure_count; i++)
		json_object_set_new(value, heap_figures[i].name,
				    json_number(heap_figure(pool, &heap_figures[i])));
	json_object_set_new(value, "audit_time",
			    pool->audit_time_ns ? json_real((double)pool->audit_time_ns / 1e9) :
						  json_null());
	return value;
}

json_t *heap_json(const struct heap *heap)
{
	const struct rdm_picture_header *header = heap->header;
	json_t *pools = json_array();

	for (uint32_t i = 0; i < header->pools; i++)
		json_array_append_new(pools, pool_json(&heap->pools[i]));
	return json_pack(
		"{s:i,s:s,s:I,s:s,s:b,s:f,s:f,s:f,s:o,s:o,s:o,s:I,s:I,s:o}", "pid", (int)heap->pid,
		"program", heap->program, "uid", (json_int_t)heap->user, "version", header->library,
		"preload", (header->flags & RDM_PICTURE_PRELOAD) != 0, "time",
		(double)header->time_ns / 1e9, "interval", (double)header->interval_ns / 1e9,
		"took", (double)header->took_ns / 1e9, "forks", json_number(header->forks),
		"last_fork_ns", json_number(header->last_fork_ns), "reserve_bytes",
		json_number(header->reserve_bytes), "pools_left_out",
		(json_int_t)header->pools_left_out, "slabs_left_out",
		(json_int_t)header->slabs_left_out, "pools", pools);
}

uint64_t heap_cached(const struct rdm_picture_pool *pool)
{
	return pool->magazine_bytes + pool->depot_bytes;
}

uint64_t heap_stranded(const struct rdm_picture_pool *pool)
{
	uint64_t used = pool->live_bytes + heap_cached(pool);

	return pool->carved_bytes > used ? pool->carved_bytes - used : 0;
}

double heap_fragmentation(const struct rdm_picture_pool *pool)
{
	return pool->carved_bytes ? (double)heap_stranded(pool) / (double)pool->carved_bytes : 0;
}

double heap_depot_hits(const struct rdm_picture_pool *pool)
{
	return pool->refills ? (double)pool->refills_served / (double)pool->refills : -1;
}

double heap_age(uint64_t time_ns)
{
	struct timespec now;
	double age;

	clock_gettime(CLOCK_REALTIME, &now);
	age = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)time_ns / 1e9;
	return age > 0 ? age : 0;
}

const char *heap_policy(const struct rdm_picture_pool *pool)
{
	if (pool->flags & RDM_PICTURE_POOL_HERITABLE)
		return "registered";
	switch (pool->fork) {
	case RDM_FORK_HOLE:
		return "hole";
	case RDM_FORK_ZERO:
		return "zero";
	case RDM_FORK_COPY:
		return "copy";
	default:
		return "?";
	}
}

const char *heap_backing(const struct rdm_picture_pool *pool)
{
	if (pool->flags & RDM_PICTURE_POOL_PLAIN)
		return "plain";
	switch (pool->backing) {
	case RDM_BACKING_ANON:
		return "anon";
	case RDM_BACKING_HUGETLB:
		return "hugetlb";
	case RDM_BACKING_SHARED:
		return "shared";
	default:
		return "?";
	}
}

const char *heap_pages(const struct rdm_picture_pool *pool)
{
	static const char *const words[] = { "?", "best", "base", "thp", "2M", "1G" };

	return pool->pages < sizeof(words) / sizeof(words[0]) ? words[pool->pages] : "?";
}

void heap_rails(const struct rdm_picture_pool *pool, char *text, size_t size)
{
	size_t used = 0;

	snprintf(text, size, "-");
	for (unsigned i = 0; i < RDM_PICTURE_RAILS && used < size; i++)
		if (*pool->rail_names[i])
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " " : "",
						 pool->rail_names[i]);
}

static void print_age(double seconds, char *text, size_t size)
{
	if (seconds < 120)
		snprintf(text, size, "%.0fs", seconds);
	else if (seconds < 7200)
		snprintf(text, size, "%.0fm", seconds / 60);
	else
		snprintf(text, size, "%.0fh", seconds / 3600);
}

void heap_audit(const struct rdm_picture_pool *pool, char *text, size_t size)
{
	char age[16];

	if (!pool->audit_time_ns) {
		snprintf(text, size, "never");
		return;
	}
	print_age(heap_age(pool->audit_time_ns), age, sizeof(age));
	if (pool->audit_violations)
		snprintf(text, size, "%lu BAD %s ago", (unsigned long)pool->audit_violations, age);
	else
		snprintf(text, size, "ok %s ago", age);
}

void heap_size(uint64_t bytes, char text[16])
{
	static const char units[] = " KMGTPE";
	double value = (double)bytes;
	unsigned unit = 0;

	for (; value >= 1000 && unit < 6; unit++)
		value /= 1024;
	if (!unit)
		snprintf(text, 16, "%lu", (unsigned long)bytes);
	else
		snprintf(text, 16, "%.*f%c", (int)(value < 99.95), value, units[unit]);
}
