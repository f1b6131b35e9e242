/* SPDX-License-Identifier: BSD-2-Clause */
#include "pagemap.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* include/uapi/linux/fs.h, since Linux 6.7. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scanned {
	uint64_t start, end, categories;
};
#define SCAN _IOWR('f', 16, struct scan)
#define IS_PRESENT (UINT64_C(1) << 3)
#define IS_HUGE (UINT64_C(1) << 6)
#define BATCH 256

/* One of /proc/PID/smaps. */
struct mapping {
	uint64_t start, end, present, huge, page;
};

struct backing_map {
	int pagemap; /* -1: there is no PAGEMAP_SCAN */
	struct mapping *mappings;
	size_t count, room;
};

static bool add_mapping(struct backing_map *map, const struct mapping *mapping)
{
	if (map->count == map->room) {
		size_t room = map->room ? 2 * map->room : 64;
		struct mapping *more = realloc(map->mappings, room * sizeof(*more));

		if (!more)
			return false;
		map->mappings = more;
		map->room = room;
	}
	map->mappings[map->count++] = *mapping;
	return true;
}

static void read_line(const char *line, struct backing_map *map)
{
	struct mapping fresh = { .page = 4096 };
	struct mapping *last = map->count ? &map->mappings[map->count - 1] : NULL;
	uint64_t kilobytes;
	char key[32];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &fresh.start, &fresh.end) == 2) {
		add_mapping(map, &fresh);
	} else if (last && sscanf(line, "%31[^:]: %" SCNu64 " kB", key, &kilobytes) == 2) {
		uint64_t bytes = kilobytes << 10;

		if (!strcmp(key, "Rss"))
			last->present += bytes;
		else if (!strcmp(key, "KernelPageSize"))
			last->page = bytes;
		else if (!strcmp(key, "AnonHugePages") || !strcmp(key, "ShmemPmdMapped"))
			last->huge += bytes;
		else if (!strcmp(key, "Private_Hugetlb") || !strcmp(key, "Shared_Hugetlb")) {
			last->present += bytes;
			last->huge += bytes;
		}
	}
}

static bool read_smaps(struct backing_map *map, pid_t pid)
{
	char path[64];
	char *line = NULL;
	size_t size = 0;
	FILE *smaps;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	smaps = fopen(path, "re");
	if (!smaps)
		return false;
	while (getline(&line, &size, smaps) > 0)
		read_line(line, map);
	free(line);
	fclose(smaps);
	return true;
}

/* Counts what has the categories; false: the kernel has no such call. */
static bool scan(int pagemap, uint64_t start, uint64_t end, uint64_t categories, uint64_t *bytes)
{
	struct scanned found[BATCH];
	struct scan scan = {
		.size = sizeof(scan),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)found,
		.vec_len = BATCH,
		.category_mask = categories,
		.return_mask = categories,
	};

	*bytes = 0;
	while (scan.start < end) {
		int count = ioctl(pagemap, SCAN, &scan);

		if (count < 0)
			return false;
		for (int i = 0; i < count; i++)
			*bytes += found[i].end - found[i].start;
		if (scan.walk_end <= scan.start)
			break;
		scan.start = scan.walk_end;
	}
	return true;
}

struct backing_map *backing_open(pid_t pid)
{
	struct backing_map *map = calloc(1, sizeof(*map));
	uint64_t none;
	char path[64];

	if (!map)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	map->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (map->pagemap >= 0 && scan(map->pagemap, 1 << 20, 2 << 20, IS_HUGE, &none))
		return map;
	if (map->pagemap >= 0)
		close(map->pagemap);
	map->pagemap = -1;
	if (read_smaps(map, pid))
		return map;
	free(map);
	return NULL;
}

void backing_close(struct backing_map *map)
{
	if (!map)
		return;
	if (map->pagemap >= 0)
		close(map->pagemap);
	free(map->mappings);
	free(map);
}

static struct backing of_mapping(const struct mapping *mapping, uint64_t length)
{
	uint64_t whole = mapping->end - mapping->start;
	struct backing backing = { .known = true };

	if (mapping->present == whole || mapping->present == 0)
		backing.present = mapping->present ? length : 0;
	else
		backing.known = false;
	if (mapping->huge == mapping->present)
		backing.huge = backing.present;
	else if (mapping->huge)
		backing.known = false;
	return backing;
}

struct backing backing_measure(const struct backing_map *map, uint64_t base, uint64_t length)
{
	struct backing backing = { .known = false };

	if (map && map->pagemap >= 0) {
		backing.known =
			scan(map->pagemap, base, base + length, IS_PRESENT, &backing.present) &&
			scan(map->pagemap, base, base + length, IS_PRESENT | IS_HUGE,
			     &backing.huge);
		return backing;
	}
	for (size_t i = 0; map && i < map->count; i++)
		if (map->mappings[i].start <= base && base + length <= map->mappings[i].end)
			return of_mapping(&map->mappings[i], length);
	return backing;
}

void backing_print(const struct backing *backing, uint64_t page_bytes, char text[24])
{
	if (!backing->known)
		snprintf(text, 24, "?");
	else if (!backing->present)
		snprintf(text, 24, "absent");
	else if (backing->huge == backing->present)
		snprintf(text, 24, "huge");
	else if (!backing->huge)
		snprintf(text, 24, "%" PRIu64 "K", page_bytes >> 10);
	else
		snprintf(text, 24, "%.0f%% huge",
			 100 * (double)backing->huge / (double)backing->present);
}
