/* SPDX-License-Identifier: BSD-2-Clause */
#include "tree.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MOST_NAMED = 40 };

static struct {
	struct tree_task *task; /* in the order of their numbers */
	size_t count, room;
} seen;

/* The beginning of a file; false if the process is gone. */
static bool read_file(char *into, size_t size, const char *path)
{
	FILE *file = fopen(path, "re");
	size_t got;

	if (!file)
		return false;
	got = fread(into, 1, size - 1, file);
	fclose(file);
	into[got] = '\0';
	return got;
}

static bool read_task(struct tree_task *task, pid_t pid, pid_t thread)
{
	unsigned long user, system, users, systems;
	char path[64], text[1024], *name, *rest;

	snprintf(path, sizeof(path), thread ? "/proc/%d/task/%d/stat" : "/proc/%d/stat", (int)pid,
		 (int)thread);
	if (!read_file(text, sizeof(text), path))
		return false;
	name = strchr(text, '(');
	rest = strrchr(text, ')');
	if (!name || !rest)
		return false;
	*rest = '\0';
	if (sscanf(rest + 2, "%c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
		   &task->state, &task->parent, &user, &system, &users, &systems) != 6)
		return false;
	task->pid = pid;
	task->thread = thread;
	task->ours = false;
	snprintf(task->name, sizeof(task->name), "%s", name + 1);
	task->cpu = (double)(user + system + users + systems) / (double)sysconf(_SC_CLK_TCK);
	return true;
}

static int by_pid(const void *a, const void *b)
{
	return ((const struct tree_task *)a)->pid - ((const struct tree_task *)b)->pid;
}

/* More than once, because a parent may have a higher number than its child. */
static void mark_ours(void)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < seen.count; i++) {
			struct tree_task *task = &seen.task[i], *parent;
			struct tree_task key = { .pid = task->parent };

			if (task->ours)
				continue;
			parent = bsearch(&key, seen.task, seen.count, sizeof(key), by_pid);
			task->ours = task->parent == getpid() || (parent && parent->ours);
			more |= task->ours;
		}
	}
}

void tree_find(void)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	seen.count = 0;
	while (proc && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		if (seen.count == seen.room) {
			seen.room = 2 * seen.room + 256;
			seen.task = realloc(seen.task, seen.room * sizeof(*seen.task));
			if (!seen.task)
				abort();
		}
		seen.count += read_task(&seen.task[seen.count], atoi(entry->d_name), 0);
	}
	if (proc)
		closedir(proc);
	qsort(seen.task, seen.count, sizeof(*seen.task), by_pid);
	mark_ours();
}

static double seconds_of(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

double tree_cpu(void)
{
	struct rusage ended;
	double sum;

	getrusage(RUSAGE_CHILDREN, &ended);
	sum = seconds_of(ended.ru_utime) + seconds_of(ended.ru_stime);
	for (size_t i = 0; i < seen.count; i++)
		sum += seen.task[i].ours ? seen.task[i].cpu : 0;
	return sum;
}

static void each_thread(pid_t pid, void (*call)(const struct tree_task *, void *), void *arg)
{
	const struct dirent *entry;
	char path[32];
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	threads = opendir(path);
	while (threads && (entry = readdir(threads))) {
		pid_t number = atoi(entry->d_name);
		struct tree_task thread;

		if (number && read_task(&thread, pid, number))
			call(&thread, arg);
	}
	if (threads)
		closedir(threads);
}

void tree_each(void (*call)(const struct tree_task *thread, void *arg), void *arg)
{
	for (size_t i = 0; i < seen.count; i++)
		if (seen.task[i].ours)
			each_thread(seen.task[i].pid, call, arg);
}

void tree_kill(int signal)
{
	for (size_t i = 0; i < seen.count; i++)
		if (seen.task[i].ours)
			kill(seen.task[i].pid, signal);
}

/* The function in the kernel, or where that is not said the system call. */
static void read_where(char *where, size_t size, const struct tree_task *thread)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", (int)thread->pid,
		 (int)thread->thread);
	if (read_file(where, size, path) && strcmp(where, "0") != 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)thread->pid,
		 (int)thread->thread);
	if (!read_file(where, size, path))
		*where = '\0';
	where[strcspn(where, " \n")] = '\0';
}

struct names {
	char text[MOST_NAMED * 128];
	size_t used;
	unsigned count;
};

static void add_name(const struct tree_task *thread, void *arg)
{
	struct names *names = arg;
	char where[64], number[16] = "", *end = names->text + names->used;

	if (thread->state == 'Z' || names->count == MOST_NAMED)
		return;
	names->count++;
	read_where(where, sizeof(where), thread);
	if (thread->thread != thread->pid)
		snprintf(number, sizeof(number), "/%d", (int)thread->thread);
	names->used +=
		(size_t)sprintf(end, "%s%d%s %s %c %s", names->used ? ", " : "", (int)thread->pid,
				number, thread->name, thread->state, where);
}

const char *tree_names(void)
{
	static struct names names;

	names = (struct names){ .text = "" };
	tree_each(add_name, &names);
	return names.used ? names.text : "nobody";
}
