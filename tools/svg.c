/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "figures.h"
#include "map.h"

#define WIDTH 1120
#define MARGIN 24
#define LABELS 268 /* to the left of the strips: address, size, pages */
#define STRIP (WIDTH - 2 * MARGIN - LABELS)
#define HEAD 112
#define POOL_HEAD 66
#define BAR 12
/* Rows of slabs; thin ones where there are many. */
#define ROW 26
#define THIN_ROW 17
#define MANY 80
#define COLUMNS 64
/* And coarse ones where browsers would be slow. */
#define VERY_MANY 1000
#define FEW_COLUMNS 16
#define STRIP_LEAST 24

struct svg {
	FILE *out;
	const struct heap *heap;
	const struct backing_map *backing;
	uint64_t longest; /* slab */
	int row;
	int y;
};

__attribute__((format(printf, 2, 3))) static void put(struct svg *svg, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(svg->out, format, args);
	va_end(args);
}

static void put_text(struct svg *svg, const char *text)
{
	for (; *text; text++)
		switch (*text) {
		case '<':
			put(svg, "&lt;");
			break;
		case '>':
			put(svg, "&gt;");
			break;
		case '&':
			put(svg, "&amp;");
			break;
		case '"':
			put(svg, "&quot;");
			break;
		default:
			put(svg, "%c", *text);
		}
}

static int height_of(const struct svg *svg)
{
	const struct rdm_picture_header *header = svg->heap->header;

	return HEAD + (int)header->pools * (POOL_HEAD + 14) + (int)header->slabs * svg->row +
	       (header->slabs_left_out ? ROW : 0) + MARGIN;
}

static void put_style(struct svg *svg)
{
	put(svg, "<style>\n"
		 "text { font: 13px system-ui, 'DejaVu Sans', sans-serif; fill: #1f2933 }\n"
		 ".title { font-size: 20px; font-weight: 600 }\n"
		 ".name { font-size: 16px; font-weight: 600 }\n"
		 ".quiet { fill: #5b6770 }\n"
		 ".mono { font-family: 'DejaVu Sans Mono', monospace; font-size: 12px }\n"
		 ".end { text-anchor: end }\n"
		 ".middle { text-anchor: middle }\n"
		 ".paper { fill: #fff }\n"
		 ".live { fill: #1b7f5c }\n"
		 ".cached { fill: #f2b544 }\n"
		 ".free { fill: #e4e9ed }\n"
		 ".bad { fill: #c8333f }\n"
		 ".huge { fill: #3566b8 }\n"
		 ".base { fill: #9fb3cc }\n"
		 ".some { fill: #7a5bb5 }\n"
		 ".unknown { fill: #c5ccd3 }\n"
		 ".on { fill: #fff; font-size: 11px }\n"
		 ".dark { fill: #1f2933; font-size: 11px }\n"
		 "</style>\n");
}

static void put_rect(struct svg *svg, const char *class, double x, double y, double width,
		     double height)
{
	put(svg, "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>\n",
	    class, x, y, width, height);
}

static void put_legend(struct svg *svg, int y)
{
	static const struct {
		const char *class, *text;
		int width;
	} entries[] = {
		{ "live", "live", 62 },
		{ "cached", "cached: free, kept by threads, depot and arena", 334 },
		{ "free", "free", 66 },
		{ "bad", "quarantined", 102 },
		{ "huge", "huge pages", 98 },
		{ "base", "base pages", 98 },
		{ "some", "some huge", 104 },
	};
	int x = MARGIN;

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		put(svg,
		    "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"14\" height=\"14\" rx=\"2\"/>"
		    "<text x=\"%d\" y=\"%d\">%s</text>\n",
		    entries[i].class, x, y - 12, x + 20, y, entries[i].text);
		x += entries[i].width + 24;
	}
}

static void put_head(struct svg *svg)
{
	const struct rdm_picture_header *header = svg->heap->header;
	time_t seconds = (time_t)(header->time_ns / 1000000000);
	struct tm when;
	char text[64] = "";

	if (localtime_r(&seconds, &when))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &when);
	put(svg, "<text class=\"title\" x=\"%d\" y=\"42\">", MARGIN);
	put_text(svg, svg->heap->program);
	put(svg, ", process %d</text>\n", (int)svg->heap->pid);
	put(svg,
	    "<text class=\"quiet end\" x=\"%d\" y=\"42\">rdmalloc %s, %s; %u pools, %u slabs, %" PRIu64
	    " forks</text>\n",
	    WIDTH - MARGIN, header->library, text, header->pools, header->slabs, header->forks);
	put_legend(svg, 76);
}

/* One bar of all that a pool has. */
static void put_bar(struct svg *svg, const struct rdm_picture_pool *pool, int y)
{
	double live = (double)pool->live_bytes, all = (double)pool->slab_bytes;
	double cached = (double)(heap_cached(pool) + heap_stranded(pool));
	double width = WIDTH - 2.0 * MARGIN;

	put_rect(svg, "free", MARGIN, y, width, BAR);
	if (all <= 0 || live + cached > all)
		return;
	put_rect(svg, "live", MARGIN, y, width * live / all, BAR);
	put_rect(svg, "cached", MARGIN + width * live / all, y, width * cached / all, BAR);
}

static void put_pool_head(struct svg *svg, const struct rdm_picture_pool *pool)
{
	char slabs[16], live[16], cached[16], pinned[16], rails[256];

	heap_size(pool->slab_bytes, slabs);
	heap_size(pool->live_bytes, live);
	heap_size(heap_cached(pool), cached);
	heap_size(pool->pinned_bytes, pinned);
	heap_rails(pool, rails, sizeof(rails));
	svg->y += 14;
	put(svg, "<text class=\"name\" x=\"%d\" y=\"%d\">", MARGIN, svg->y + 18);
	put_text(svg, pool->name);
	put(svg, "</text>\n<text class=\"quiet\" x=\"%d\" y=\"%d\">%s, fork %s, rails ",
	    MARGIN + LABELS, svg->y + 18, heap_backing(pool), heap_policy(pool));
	put_text(svg, rails);
	put(svg,
	    "</text>\n<text class=\"end\" x=\"%d\" y=\"%d\">%" PRIu64
	    " slab%s, %s: live %s, cached %s, pinned %s, fragmented %.0f %%</text>\n",
	    WIDTH - MARGIN, svg->y + 18, pool->slabs, pool->slabs == 1 ? "" : "s", slabs, live,
	    cached, pinned, 100 * heap_fragmentation(pool));
	put_bar(svg, pool, svg->y + 30);
	svg->y += POOL_HEAD - 14;
}

static void put_badge(struct svg *svg, const struct backing *backing)
{
	double x = MARGIN + LABELS - 84;
	const char *class = "unknown";
	bool on = false;
	char text[24];

	if (backing->known && backing->present) {
		on = backing->huge;
		class = backing->huge == backing->present ? "huge" :
			backing->huge                     ? "some" :
							    "base";
	}
	backing_print(backing, svg->heap->header->page_bytes, text);
	put(svg,
	    "<rect class=\"%s\" x=\"%.0f\" y=\"%d\" width=\"72\" height=\"%d\" rx=\"3\"/>"
	    "<text class=\"%s middle\" x=\"%.0f\" y=\"%d\">%s</text>\n",
	    class, x, svg->y, svg->row - 5, on ? "on" : "dark", x + 36, svg->y + svg->row / 2 + 2,
	    text);
}

static void put_tip(struct svg *svg, const struct rdm_picture_slab *slab, unsigned column,
		    unsigned columns, const struct map_part *part)
{
	char at[16], live[16], cached[16], free_text[16];

	heap_size(slab->length * column / columns, at);
	heap_size(part->live, live);
	heap_size(part->cached, cached);
	heap_size(part->free, free_text);
	put(svg, "<title>%#" PRIx64 " + %s&#10;live %s&#10;cached %s&#10;free %s%s</title>",
	    slab->base + slab->length * column / columns, at, live, cached, free_text,
	    slab->quarantined ? "&#10;quarantined: a rail refuses to deregister it" : "");
}

/* From below: live, cached, free. */
static void put_part(struct svg *svg, const struct rdm_picture_slab *slab, unsigned column,
		     unsigned columns, double x, double width)
{
	struct map_part part = map_part(svg->heap, slab, column, columns);
	double height = svg->row - 5, bytes = (double)(part.live + part.cached + part.free);
	double live = height * (double)part.live / bytes;
	double cached = height * (double)part.cached / bytes;

	put(svg, "<g>");
	put_tip(svg, slab, column, columns, &part);
	if (part.free || slab->quarantined)
		put_rect(svg, slab->quarantined ? "bad" : "free", x, svg->y, width, height);
	if (live > 0)
		put_rect(svg, "live", x, svg->y + height - live, width, live);
	if (cached > 0)
		put_rect(svg, "cached", x, svg->y + height - live - cached, width, cached);
	put(svg, "</g>\n");
}

static void put_slab(struct svg *svg, const struct rdm_picture_slab *slab)
{
	struct backing backing = backing_measure(svg->backing, slab->base, slab->length);
	uint64_t cells = slab->length >> svg->heap->header->cell_shift;
	unsigned most = svg->heap->header->slabs > VERY_MANY ? FEW_COLUMNS : COLUMNS;
	unsigned columns = cells < most ? (unsigned)cells : most;
	double strip = STRIP * (double)slab->length / (double)svg->longest;
	int middle = svg->y + svg->row / 2 + 2;
	char size[16];

	if (strip < STRIP_LEAST)
		strip = STRIP_LEAST;
	heap_size(slab->length, size);
	put(svg, "<text class=\"mono\" x=\"%d\" y=\"%d\">%#" PRIx64 "</text>\n", MARGIN, middle,
	    slab->base);
	put(svg, "<text class=\"mono end quiet\" x=\"%d\" y=\"%d\">%s</text>\n",
	    MARGIN + LABELS - 94, middle, size);
	put_badge(svg, &backing);
	for (unsigned i = 0; i < columns; i++)
		put_part(svg, slab, i, columns, MARGIN + LABELS + strip * i / columns,
			 strip / columns - (strip > 3.0 * columns ? 1 : 0));
	svg->y += svg->row;
}

static void put_all(struct svg *svg)
{
	const struct rdm_picture_header *header = svg->heap->header;

	put(svg,
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
	    "%d\">\n",
	    WIDTH, height_of(svg), WIDTH, height_of(svg));
	put_style(svg);
	put_rect(svg, "paper", 0, 0, WIDTH, height_of(svg));
	put_head(svg);
	svg->y = HEAD - 14;
	for (uint32_t i = 0; i < header->pools; i++) {
		put_pool_head(svg, &svg->heap->pools[i]);
		for (uint32_t s = 0; s < header->slabs; s++)
			if (svg->heap->slabs[s].pool == i)
				put_slab(svg, &svg->heap->slabs[s]);
		svg->y += 14;
	}
	if (header->slabs_left_out)
		put(svg, "<text x=\"%d\" y=\"%d\">%u more slabs are left out</text>\n", MARGIN,
		    svg->y + 18, header->slabs_left_out);
	put(svg, "</svg>\n");
}

int map_write_svg(const struct heap *heap, const struct backing_map *backing, const char *path)
{
	struct svg svg = { .heap = heap, .backing = backing, .longest = 1 };
	bool written;

	for (uint32_t i = 0; i < heap->header->slabs; i++)
		if (heap->slabs[i].length > svg.longest)
			svg.longest = heap->slabs[i].length;
	svg.row = heap->header->slabs > MANY ? THIN_ROW : ROW;
	svg.out = fopen(path, "we");
	if (!svg.out)
		return -1;
	put_all(&svg);
	written = !ferror(svg.out);
	if (fclose(svg.out) || !written)
		return -1;
	return 0;
}
