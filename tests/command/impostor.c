/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Offers a statistics page in which one thing is wrong, says "ready", and ends with its input:
 *
 *   fine                    nothing is
 *   empty, short, cut       it has no bytes, few, or fewer than it says
 *   nonsense, version       another magic, another layout
 *   stranger, reused        of another process, of one that had this number before
 *   counts, sums            numbers beyond any page, numbers that do not add up
 *   slabs                   slabs of pools, and with cells, that there are not; texts without an end
 *   half                    it is being written for ever
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/picture_layout.h"

struct page {
	struct rdm_picture_header header;
	struct rdm_picture_pool pools[1];
	struct rdm_picture_slab slabs[2];
	struct rdm_picture_cell cells[32];
};

static uint64_t read_start(void)
{
	FILE *stat = fopen("/proc/self/stat", "re");
	unsigned long start = 0;
	char text[1024] = "";
	const char *field;

	if (!stat || !fgets(text, sizeof(text), stat))
		exit(1);
	fclose(stat);
	field = strrchr(text, ')');
	for (unsigned i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	if (field)
		start = strtoul(field, NULL, 10);
	return start;
}

static void fill(struct page *page)
{
	page->header = (struct rdm_picture_header){
		.magic = RDM_PICTURE_MAGIC,
		.version = RDM_PICTURE_VERSION,
		.sequence = 2,
		.bytes = sizeof(*page),
		.pid = (uint64_t)getpid(),
		.start = read_start(),
		.page_bytes = 4096,
		.pools = 1,
		.slabs = 2,
		.cells = 32,
		.cell_shift = 17,
		.library = "9.9",
	};
	strcpy(page->pools[0].name, "false<&\"\\\033[2J");
	for (unsigned i = 0; i < 2; i++)
		page->slabs[i] = (struct rdm_picture_slab){ .base = 1U << 31,
							    .length = 2 << 20,
							    .first_cell = 16 * i };
}

/* Of how many bytes it is then. */
static size_t spoil(struct page *page, const char *how)
{
	struct rdm_picture_header *header = &page->header;

	if (!strcmp(how, "empty"))
		return 0;
	if (!strcmp(how, "short"))
		return 10;
	if (!strcmp(how, "cut"))
		return sizeof(*page) - 1;
	if (!strcmp(how, "nonsense"))
		header->magic++;
	else if (!strcmp(how, "version"))
		header->version++;
	else if (!strcmp(how, "stranger"))
		header->pid = 1;
	else if (!strcmp(how, "reused"))
		header->start--;
	else if (!strcmp(how, "counts"))
		header->slabs = UINT32_MAX;
	else if (!strcmp(how, "sums"))
		header->cells--;
	else if (!strcmp(how, "half"))
		header->sequence = 3;
	else if (!strcmp(how, "slabs")) {
		page->slabs[0].pool = 1;
		page->slabs[1].first_cell = 17;
		memset(page->pools[0].name, 'x', sizeof(page->pools[0].name));
		memset(page->pools[0].rail_names, 'y', sizeof(page->pools[0].rail_names));
	} else if (strcmp(how, "fine") != 0)
		exit(2);
	return sizeof(*page);
}

int main(int argc, char **argv)
{
	static struct page page;
	int fd = memfd_create(RDM_PICTURE_NAME, MFD_ALLOW_SEALING);
	size_t bytes;

	if (argc != 2 || fd < 0)
		return 1;
	fill(&page);
	bytes = spoil(&page, argv[1]);
	if (write(fd, &page, bytes) != (ssize_t)bytes)
		return 1;
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
