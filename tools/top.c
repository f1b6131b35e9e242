/* SPDX-License-Identifier: BSD-2-Clause */
#include "top.h"

#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "figures.h"
#include "options.h"
#include "output.h"
#include "table.h"

/* To look for new processes is dear where there are many. */
#define SEARCH_EVERY 3

enum { COLOUR_BAD = 1, COLOUR_QUIET };

static const char *sort_word(size_t i)
{
	return i < sort_count ? sort_words[i] : NULL;
}

static const struct command_option options[] = {
	{ .name = "once",
	  .key = 'o',
	  .meaning = "print it and end; the same where there is no terminal" },
	{ .name = "json", .key = 'j', .meaning = "print it for machines and end" },
	{ .name = "delay", .key = 'd', .argument = "SECONDS", .meaning = "how often (1)" },
	{ .name = "sort",
	  .key = 's',
	  .argument = "WORD",
	  .word = sort_word,
	  .meaning = "in which order (live)" },
	{ .name = NULL },
};

static const struct exit_status statuses[] = {
	{ FINE, "all went well" },
	{ FINDING, "a process cannot be shown, or there is none, which a line says" },
	{ USAGE, "wrong usage" },
	{ 0, NULL },
};

static void list_keys(FILE *out)
{
	fputc('\n', out);
	wrap(out,
	     "Keys: up and down choose a process, page up and down scroll its pools, s sorts by "
	     "something else, q ends.",
	     0);
}

static const struct command command = {
	.name = "top",
	.operands = "[PID...]",
	.about = "Shows processes that were started with RDMALLOC_CONF=publish:true, and the pools "
		 "of one of them, until q is pressed.",
	.options = options,
	.more = list_keys,
	.statuses = statuses,
};

struct view {
	struct watched *watched;
	size_t count;
	pid_t *given; /* NULL: all that publish */
	size_t given_count;
	unsigned rounds;
	enum sort_order sort;
	pid_t chosen; /* whose pools are shown; 0: the first */
	size_t first_pool;
	double delay;
	bool once, json;
};

/* What was seen of a process last time; it is the caller's now. */
static struct watched take_last(struct view *view, pid_t pid)
{
	struct watched last = { .now = { .pid = pid } };

	for (size_t i = 0; i < view->count; i++)
		if (view->watched[i].now.pid == pid) {
			last = view->watched[i];
			view->watched[i].now.header = view->watched[i].before.header = NULL;
		}
	return last;
}

static void forget(struct view *view)
{
	for (size_t i = 0; i < view->count; i++) {
		heap_free(&view->watched[i].now);
		heap_free(&view->watched[i].before);
	}
	free(view->watched);
	view->watched = NULL;
	view->count = 0;
}

/* The processes that were there last time; pids to be freed. */
static pid_t *same_again(const struct view *view, size_t *count)
{
	pid_t *pids = calloc(view->count + 1, sizeof(*pids));

	*count = pids ? view->count : 0;
	for (size_t i = 0; i < *count; i++)
		pids[i] = view->watched[i].now.pid;
	return pids;
}

static void look_at(struct watched *watched, pid_t pid, struct view *view,
		    struct heap_patience *patience)
{
	struct watched last = take_last(view, pid);
	const struct rdm_picture_header *header;

	watched->status = heap_read(&watched->now, pid, patience);
	header = watched->now.header;
	/* The same picture once more says nothing of rates. */
	if (header && last.now.header && header->time_ns == last.now.header->time_ns) {
		watched->before = last.before;
		heap_free(&last.now);
	} else {
		watched->before = last.now;
		heap_free(&last.before);
	}
}

static void refresh_view(struct view *view)
{
	bool search = !view->given && view->rounds++ % SEARCH_EVERY == 0;
	struct watched *fresh;
	size_t count, kept = 0;
	struct heap_patience patience;
	pid_t *pids;

	heap_be_patient(&patience);
	pids = search ? heap_find_all(&count, &patience) : same_again(view, &count);

	if (view->given) {
		free(pids);
		pids = view->given;
		count = view->given_count;
	}
	fresh = calloc(count + 1, sizeof(*fresh));
	for (size_t i = 0; fresh && i < count; i++) {
		look_at(&fresh[kept], pids[i], view, &patience);
		/* Of those that nobody asked for, who has gone has gone. */
		if (view->given || fresh[kept].status == HEAP_READ ||
		    fresh[kept].status == HEAP_CUT || fresh[kept].status == HEAP_VERSION)
			kept++;
		else
			heap_free(&fresh[kept].before);
	}
	if (!view->given)
		free(pids);
	forget(view);
	view->watched = fresh;
	view->count = fresh ? kept : 0;
	table_sort(view->watched, view->count, view->sort);
}

/* The process whose pools are shown, or NULL. */
static struct watched *find_chosen(const struct view *view)
{
	for (size_t i = 0; i < view->count; i++)
		if (view->watched[i].now.pid == view->chosen)
			return &view->watched[i];
	return view->count ? view->watched : NULL;
}

static void print_pools(const struct watched *watched, enum sort_order sort, unsigned width)
{
	uint32_t order[RDM_PICTURE_POOLS];
	char line[LINE_BYTES];

	printf("\n%s, process %d\n", watched->now.program, (int)watched->now.pid);
	table_pool_head(line, width);
	print_coloured(stdout, COLOUR_BOLD, "%s\n", line);
	table_sort_pools(&watched->now, sort, order);
	for (uint32_t i = 0; i < watched->now.header->pools; i++) {
		table_pool(watched, order[i], line, width);
		puts(line);
	}
}

static unsigned text_width(void)
{
	const char *columns = getenv("COLUMNS");
	unsigned width = columns ? (unsigned)strtoul(columns, NULL, 10) : 0;

	return width >= 40 && width < LINE_BYTES ? width : 100;
}

static void print_text(const struct view *view)
{
	unsigned width = text_width();
	char line[LINE_BYTES];

	table_process_head(line, width);
	print_coloured(stdout, COLOUR_BOLD, "%s\n", line);
	for (size_t i = 0; i < view->count; i++)
		if (view->watched[i].now.header) {
			table_process(&view->watched[i], line, width);
			puts(line);
		}
	for (size_t i = 0; i < view->count; i++)
		if (view->watched[i].now.header)
			print_pools(&view->watched[i], view->sort, width);
}

static int print_json(const struct view *view)
{
	json_t *all = json_array();

	for (size_t i = 0; i < view->count; i++)
		if (view->watched[i].now.header)
			json_array_append_new(all, heap_json(&view->watched[i].now));
	return output_json(all);
}

/* One line for each process that cannot be shown. How many can. */
static size_t complain(const struct view *view)
{
	size_t shown = 0;

	for (size_t i = 0; i < view->count; i++)
		if (view->watched[i].now.header)
			shown++;
		else
			fprintf(stderr, "rdmalloc: %s\n", view->watched[i].now.problem);
	if (!view->count)
		fputs("rdmalloc: no process that may be looked at publishes statistics: start one "
		      "with RDMALLOC_CONF=publish:true\n",
		      stderr);
	return shown;
}

static int show_once(struct view *view)
{
	size_t shown = complain(view);

	if (view->json && print_json(view))
		return FINDING;
	if (!view->json && shown)
		print_text(view);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "rdmalloc: writing: %s\n", strerror(errno));
		return FINDING;
	}
	return shown && shown == view->count ? FINE : FINDING;
}

static void put_line(int y, attr_t attributes, const char *line)
{
	attron(attributes);
	mvaddnstr(y, 0, line, COLS);
	attroff(attributes);
}

static void draw_title(const struct view *view)
{
	time_t now = time(NULL);
	struct tm when;
	char clock[16] = "", line[LINE_BYTES];

	if (localtime_r(&now, &when))
		strftime(clock, sizeof(clock), "%H:%M:%S", &when);
	snprintf(line, sizeof(line), "rdmalloc top  %s  %zu process%s, by %s", clock, view->count,
		 view->count == 1 ? "" : "es", sort_words[view->sort]);
	put_line(0, A_BOLD, line);
}

/* Rows that the list of processes may have. */
static int process_rows(const struct view *view)
{
	int most = (LINES - 8) / 2;

	if (most < 1)
		most = 1;
	return view->count < (size_t)most ? (int)view->count : most;
}

static void draw_processes(const struct view *view, int rows)
{
	const struct watched *chosen = find_chosen(view);
	size_t at = chosen ? (size_t)(chosen - view->watched) : 0;
	size_t first = at >= (size_t)rows ? at - (size_t)rows + 1 : 0;
	char line[LINE_BYTES];

	table_process_head(line, (unsigned)COLS);
	put_line(2, A_UNDERLINE, line);
	for (int i = 0; i < rows; i++) {
		const struct watched *watched = &view->watched[first + (size_t)i];
		size_t length;

		table_process(watched, line, (unsigned)COLS);
		for (length = strlen(line); length < (size_t)COLS && length + 1 < sizeof(line);)
			line[length++] = ' ';
		line[length] = '\0';
		put_line(3 + i,
			 (watched == chosen ? A_REVERSE : 0) |
				 (watched->status ? COLOR_PAIR(COLOUR_BAD) : 0),
			 line);
	}
}

static void draw_pool(const struct watched *watched, uint32_t pool, int y)
{
	const struct rdm_picture_pool *this = &watched->now.pools[pool];
	char line[LINE_BYTES];
	attr_t attributes = 0;

	if (this->audit_violations || this->quarantined)
		attributes = COLOR_PAIR(COLOUR_BAD) | A_BOLD;
	table_pool(watched, pool, line, (unsigned)COLS);
	put_line(y, attributes, line);
}

static void draw_pools(struct view *view, const struct watched *watched, int y)
{
	uint32_t order[RDM_PICTURE_POOLS];
	char line[LINE_BYTES];
	size_t pools = watched->now.header->pools;
	size_t rows = LINES - y - 4 > 0 ? (size_t)(LINES - y - 4) : 0;
	size_t last = pools > rows ? pools - rows : 0;

	if (view->first_pool > last)
		view->first_pool = last;
	snprintf(line, sizeof(line), "Pools of %s, process %d", watched->now.program,
		 (int)watched->now.pid);
	if (last)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "  (%zu to %zu of %zu)",
			 view->first_pool + 1, view->first_pool + rows, pools);
	put_line(y++, A_BOLD, line);
	table_pool_head(line, (unsigned)COLS);
	put_line(y++, A_UNDERLINE, line);
	table_sort_pools(&watched->now, view->sort, order);
	for (size_t i = 0; i < rows && view->first_pool + i < pools; i++)
		draw_pool(watched, order[view->first_pool + i], y++);
}

static void draw(struct view *view)
{
	const struct watched *chosen = find_chosen(view);
	int rows = process_rows(view);

	erase();
	draw_title(view);
	draw_processes(view, rows);
	if (!chosen)
		put_line(
			4, 0,
			"No process publishes statistics: start one with RDMALLOC_CONF=publish:true");
	else if (chosen->now.header)
		draw_pools(view, chosen, 4 + rows);
	put_line(LINES - 1, COLOR_PAIR(COLOUR_QUIET),
		 "up, down: process   page up, down: pools   s: sort   q: quit");
	refresh();
}

static void choose(struct view *view, int step)
{
	const struct watched *chosen = find_chosen(view);
	size_t at = chosen ? (size_t)(chosen - view->watched) : 0;

	if (step < 0 && at)
		at--;
	else if (step > 0 && at + 1 < view->count)
		at++;
	if (chosen)
		view->chosen = view->watched[at].now.pid;
	view->first_pool = 0;
}

/* False: it is the end. */
static bool obey(struct view *view, int key)
{
	switch (key) {
	case 'q':
		return false;
	case 's':
		view->sort = (enum sort_order)((view->sort + 1) % sort_count);
		table_sort(view->watched, view->count, view->sort);
		break;
	case KEY_UP:
	case 'k':
		choose(view, -1);
		break;
	case KEY_DOWN:
	case 'j':
		choose(view, 1);
		break;
	case KEY_NPAGE:
		view->first_pool += (size_t)LINES / 2;
		break;
	case KEY_PPAGE:
		view->first_pool -=
			view->first_pool < (size_t)LINES / 2 ? view->first_pool : (size_t)LINES / 2;
		break;
	default:
		break;
	}
	return true;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void open_screen(void)
{
	const char *no_color = getenv("NO_COLOR");

	setlocale(LC_ALL, "");
	initscr();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	if (!has_colors() || (no_color && *no_color))
		return;
	start_color();
	use_default_colors();
	init_pair(COLOUR_BAD, COLOR_RED, -1);
	init_pair(COLOUR_QUIET, COLOR_CYAN, -1);
}

static int show(struct view *view)
{
	bool goes_on = true;

	open_screen();
	while (goes_on) {
		int64_t next = now_ms() + (int64_t)(view->delay * 1000), left;

		draw(view);
		while (goes_on && (left = next - now_ms()) > 0) {
			int key;

			timeout((int)left);
			key = getch();
			if (key == ERR)
				continue;
			goes_on = obey(view, key);
			draw(view);
		}
		if (goes_on)
			refresh_view(view);
	}
	endwin();
	return FINE;
}

/* It is one of the words. */
static enum sort_order parse_sort(const char *word)
{
	size_t i = 0;

	while (strcmp(word, sort_word(i)) != 0)
		i++;
	return (enum sort_order)i;
}

static int parse_delay(struct view *view, const char *text)
{
	char *end;

	view->delay = strtod(text, &end);
	if (end == text || *end || !(view->delay >= 0.1) || !(view->delay <= 3600))
		return usage_error(&command, "--delay is seconds, 0.1 to 3600, not '%s'", text);
	return GO_ON;
}

static int take(void *into, int key, const char *argument)
{
	struct view *view = into;

	if (key == 'd')
		return parse_delay(view, argument);
	if (key == 's') {
		view->sort = parse_sort(argument);
		return GO_ON;
	}
	view->once = true;
	view->json = view->json || key == 'j';
	return GO_ON;
}

static int parse_pids(struct view *view, char **texts, size_t count)
{
	if (!count)
		return GO_ON;
	view->given = calloc(count, sizeof(*view->given));
	if (!view->given)
		return FINDING;
	view->given_count = count;
	for (size_t i = 0; i < count; i++) {
		view->given[i] = heap_parse_pid(texts[i]);
		if (view->given[i] < 0)
			return usage_error(&command, "there is no process '%s'", texts[i]);
	}
	return GO_ON;
}

int command_top(int argc, char **argv)
{
	struct view view = { .delay = 1 };
	int status = options_parse(&command, argc, argv, take, &view);
	bool any = false;

	if (status == GO_ON)
		status = parse_pids(&view, argv + optind, (size_t)(argc - optind));
	if (status == GO_ON) {
		refresh_view(&view);
		for (size_t i = 0; i < view.count; i++)
			any = any || view.watched[i].now.header;
		if (view.once || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ||
		    (view.given && !any))
			status = show_once(&view);
		else
			status = show(&view);
	}
	forget(&view);
	free(view.given);
	return status;
}
