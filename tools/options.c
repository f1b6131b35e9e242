/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

/* Options of a command, with --help. */
#define MOST 16
/* What is longer stands on a line of its own, before its meaning. */
#define LONGEST 26
#define ITEM_WIDTH 14

static const struct command_option help = {
	.name = "help", .key = 'h', .is_letter = true, .alone = true, .meaning = "this text"
};

static size_t count(const struct command *command)
{
	size_t n = 0;

	while (command->options[n].name)
		n++;
	return n;
}

/* The i-th of a command's options, of which the last is --help. */
static const struct command_option *option_at(const struct command *command, size_t i)
{
	return i < count(command) ? &command->options[i] : &help;
}

static void print_name(FILE *out, const struct command_option *option)
{
	const char *argument = option->argument;

	fprintf(out, "--%s", option->name);
	if (argument && option->may_lack)
		fprintf(out, "[=%s]", argument);
	else if (argument)
		fprintf(out, "=%s", argument);
}

static void print_synopsis(FILE *out, const struct command *command)
{
	bool goes_on = false;

	for (size_t i = 0; i < count(command); i++) {
		const struct command_option *option = &command->options[i];

		if (option->alone)
			continue;
		fputs(goes_on ? " | " : " [", out);
		print_name(out, option);
		goes_on = option->or_next;
		fputs(goes_on ? "" : "]", out);
	}
	if (*command->operands)
		fprintf(out, " %s", command->operands);
}

static void print_alone(FILE *out, const struct command *command)
{
	const char *separator = " ";

	for (size_t i = 0; i <= count(command); i++)
		if (option_at(command, i)->alone) {
			fprintf(out, "%s--%s", separator, option_at(command, i)->name);
			separator = " | ";
		}
}

static void print_call(FILE *out, const char *before, const struct command *command,
		       void (*print)(FILE *out, const struct command *command))
{
	char *text = NULL;
	size_t size;
	FILE *line = open_memstream(&text, &size);

	if (!line)
		return;
	fprintf(line, "rdmalloc%s%s", *command->name ? " " : "", command->name);
	print(line, command);
	if (!fclose(line)) {
		fputs(before, out);
		wrap(out, text, (int)strlen(before));
	}
	free(text);
}

/* "WORD: this that", by the argument's name. */
static void print_words(FILE *out, const struct command_option *option, int indent)
{
	size_t size, name = strspn(option->argument, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	char *text = NULL;
	FILE *line = open_memstream(&text, &size);

	if (!line)
		return;
	fprintf(line, "%.*s:", (int)name, option->argument);
	for (size_t i = 0; option->word(i); i++)
		fprintf(line, " %s", option->word(i));
	if (!fclose(line)) {
		fprintf(out, "%*s", indent, "");
		wrap(out, text, indent);
	}
	free(text);
}

static int width_of(const struct command_option *option)
{
	size_t width = strlen(option->name) + strlen("  -x, --");

	if (option->argument)
		width += strlen(option->argument) + (option->may_lack ? strlen("[=]") : 1);
	return (int)width;
}

static int widest(const struct command *command)
{
	int width = 0;

	for (size_t i = 0; i <= count(command); i++) {
		int this = width_of(option_at(command, i));

		width = this > width && this <= LONGEST ? this : width;
	}
	return width;
}

static void print_option(FILE *out, const struct command_option *option, int indent)
{
	int width = width_of(option);

	if (option->is_letter)
		fprintf(out, "  -%c, ", option->key);
	else
		fputs("      ", out);
	print_name(out, option);
	if (width > indent - 2)
		fprintf(out, "\n%*s", indent, "");
	else
		fprintf(out, "%*s", indent - width, "");
	wrap(out, option->meaning, indent);
	if (option->word)
		print_words(out, option, indent);
}

static void print_statuses(FILE *out, const struct command *command)
{
	const struct exit_status *status = command->statuses;

	fprintf(out, "\nExit status:%s%s\n", command->status ? " " : "",
		command->status ? command->status : "");
	for (; status->meaning; status++) {
		fprintf(out, "  %-3d  ", status->status);
		wrap(out, status->meaning, 7);
	}
}

static void print_usage(FILE *out, const struct command *command)
{
	print_call(out, "Usage: ", command, print_synopsis);
	print_call(out, "       ", command, print_alone);
}

static void print_help(FILE *out, const struct command *command)
{
	int indent = widest(command) + 2;

	print_usage(out, command);
	fputc('\n', out);
	wrap(out, command->about, 0);
	fputc('\n', out);
	for (size_t i = 0; i <= count(command); i++)
		print_option(out, option_at(command, i), indent);
	if (command->more)
		command->more(out);
	print_statuses(out, command);
}

void print_item(FILE *out, const char *word, const char *meaning)
{
	fprintf(out, "  %-*s  ", ITEM_WIDTH, word);
	wrap(out, meaning, ITEM_WIDTH + 4);
}

static int refer(const struct command *command)
{
	print_call(stderr, "Usage: ", command, print_synopsis);
	fprintf(stderr, "rdmalloc%s%s --help says more.\n", *command->name ? " " : "",
		command->name);
	return USAGE;
}

int usage_error(const struct command *command, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "rdmalloc%s%s: ", *command->name ? " " : "", command->name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return refer(command);
}

/* GO_ON, or one of several words was needed and this is none. */
static int check_word(const struct command *command, int key, const char *argument)
{
	const struct command_option *option = command->options;
	char text[256] = "";
	size_t used = 0;

	while (option->name && option->key != key)
		option++;
	/* Lists of words are for take(). */
	if (!option->word || strchr(option->argument, ','))
		return GO_ON;
	for (size_t i = 0; option->word(i); i++) {
		const char *separator = !i ? "" : option->word(i + 1) ? ", " : " or ";

		if (!strcmp(option->word(i), argument))
			return GO_ON;
		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 separator, option->word(i));
	}
	return usage_error(command, "--%s is %s, not '%s'", option->name, text, argument);
}

/* What getopt_long() wants to know. */
static void translate(const struct command *command, struct option list[MOST + 1],
		      char letters[MOST + 2])
{
	size_t n = count(command) + 1;

	assert(n <= MOST);
	/* It stops at the first operand. */
	if (command->operand_ends)
		*letters++ = '+';
	for (size_t i = 0; i < n; i++) {
		const struct command_option *option = option_at(command, i);

		list[i] = (struct option){
			.name = option->name,
			.has_arg = !option->argument ? no_argument :
				   option->may_lack  ? optional_argument :
						       required_argument,
			.val = option->key,
		};
		if (option->is_letter)
			*letters++ = option->key;
	}
	list[n] = (struct option){ .name = NULL };
	*letters = '\0';
}

/* GO_ON, or it excludes one that was given before. */
static int check_others(const struct command *command, int key, const bool *given)
{
	const struct command_option *option = command->options, *other;

	for (; option->name; option++) {
		other = option + 1;
		if (!option->or_next || (option->key != key && other->key != key))
			continue;
		if (given[(unsigned char)(option->key == key ? other->key : option->key)])
			return usage_error(command, "--%s or --%s, not both", option->name,
					   other->name);
	}
	return GO_ON;
}

static int parse(const struct command *command, int argc, char **argv,
		 int (*take)(void *into, int key, const char *argument), void *into)
{
	struct option list[MOST + 1];
	char letters[MOST + 2];
	bool given[256] = { false };
	int key, status = GO_ON;

	translate(command, list, letters);
	/* It begins anew: main() has parsed its own options. */
	optind = 0;
	while (status == GO_ON && (key = getopt_long(argc, argv, letters, list, NULL)) != -1) {
		if (key == help.key) {
			print_help(stdout, command);
			return FINE;
		}
		if (key == '?')
			return refer(command);
		given[key] = true;
		status = check_word(command, key, optarg);
		if (status == GO_ON)
			status = check_others(command, key, given);
		if (status == GO_ON)
			status = take(into, key, optarg);
	}
	return status;
}

int options_parse(const struct command *command, int argc, char **argv,
		  int (*take)(void *into, int key, const char *argument), void *into)
{
	char name[64], *own = argv[0];
	int status;

	/* getopt_long() begins its complaints with it. */
	snprintf(name, sizeof(name), "rdmalloc%s%s", *command->name ? " " : "", command->name);
	argv[0] = name;
	status = parse(command, argc, argv, take, into);
	argv[0] = own;
	return status;
}
