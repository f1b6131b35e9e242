/* SPDX-License-Identifier: BSD-2-Clause */
#include "words.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST 65536

/* Whose line says why the process ends. */
static struct probe_words *begun;

static void on_abort(int number)
{
	(void)number;
	if (begun)
		probe_words_pass(begun, begun->was);
}

void probe_words_open(struct probe_words *words)
{
	*words = (struct probe_words){ .file = memfd_create("words", MFD_CLOEXEC), .was = -1 };
	/* Else it may be a program's own file, to which the library would not write. */
	if (words->file >= 0)
		fcntl(words->file, F_SETFL, O_APPEND);
}

void probe_words_begin(struct probe_words *words)
{
	struct sigaction action = { .sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND };

	probe_words_open(words);
	if (words->file < 0)
		return;
	words->was = dup(STDERR_FILENO);
	if (words->was < 0 || dup2(words->file, STDERR_FILENO) < 0)
		return;
	begun = words;
	sigaction(SIGABRT, &action, NULL);
}

static void forget_from(struct probe_words *words, off_t at)
{
	/* Who writes next goes on there. */
	if (!ftruncate(words->file, at))
		lseek(words->file, at, SEEK_SET);
}

void probe_words_take(struct probe_words *words, struct probe_outcome *out)
{
	static const char ours[] = "rdmalloc: ";
	size_t prefix = sizeof(ours) - 1;
	char text[512];
	ssize_t length = pread(words->file, text, sizeof(text) - 1, words->seen);

	if (length <= 0)
		return;
	text[length] = '\0';
	if (strncmp(text, ours, prefix) != 0 ||
	    (out->verdict != PROBE_SKIPPED && out->verdict != PROBE_BROKEN)) {
		/* They are not the next one's either. */
		words->seen = lseek(words->file, 0, SEEK_END);
		return;
	}
	snprintf(out->reason, sizeof(out->reason), "%.*s", (int)strcspn(text + prefix, "\n"),
		 text + prefix);
	forget_from(words, words->seen);
}

static bool is_before(const char *text, const char *line, size_t length)
{
	for (; text < line; text = strchr(text, '\n') + 1)
		if (!strncmp(text, line, length))
			return true;
	return false;
}

void probe_words_pass(struct probe_words *words, int fd)
{
	static char text[MOST + 2];
	ssize_t got = pread(words->file, text, MOST, 0);
	size_t length;

	if (got <= 0)
		return;
	if (text[got - 1] != '\n')
		text[got++] = '\n';
	text[got] = '\0';
	for (const char *line = text; *line; line += length) {
		length = strcspn(line, "\n") + 1;
		if (!is_before(text, line, length) && write(fd, line, length) < 0)
			break;
	}
	forget_from(words, 0);
	words->seen = 0;
}

void probe_words_end(struct probe_words *words)
{
	if (words->was >= 0) {
		dup2(words->was, STDERR_FILENO);
		close(words->was);
	}
	begun = NULL;
	probe_words_pass(words, STDERR_FILENO);
	close(words->file);
}
