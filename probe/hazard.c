/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"

const struct probe_hazard probe_no_fork = { .name = "no fork" };
const struct probe_hazard probe_fork_lives = { .name = "fork, child lives", .forks = 1 };
const struct probe_hazard probe_fork_exits = {
	.name = "fork, child exits",
	.forks = 1,
	.children_exit = true,
};
const struct probe_hazard probe_sibling_forks = {
	.name = "sibling thread forks",
	.sibling = true,
	.rounds = 16,
};
const struct probe_hazard probe_child_writes = {
	.name = "child writes first",
	.forks = 1,
	.children_write = true,
};
const struct probe_hazard probe_many_forks = { .name = "64 children live", .forks = 64 };
const struct probe_hazard probe_written_fork = {
	.name = "written, then fork",
	.when = PROBE_WRITTEN,
	.forks = 1,
};

static void *fork_all_the_time(void *argument)
{
	struct probe_sibling *sibling = argument;
	bool stop = false;

	while (!stop) {
		pid_t pid = fork();
		int error = pid < 0 ? errno : 0;

		if (!pid)
			_exit(0);
		while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		pthread_mutex_lock(&sibling->lock);
		sibling->forks++;
		sibling->error = error;
		stop = sibling->stop || error;
		pthread_cond_signal(&sibling->forked);
		pthread_mutex_unlock(&sibling->lock);
	}
	return NULL;
}

static int start_sibling(struct probe_strike *strike, struct probe_outcome *out)
{
	struct probe_sibling *sibling = calloc(1, sizeof(*sibling));
	int error;

	if (!sibling)
		return probe_refused(out, "sibling thread", ENOMEM);
	pthread_mutex_init(&sibling->lock, NULL);
	pthread_cond_init(&sibling->forked, NULL);
	error = pthread_create(&sibling->thread, NULL, fork_all_the_time, sibling);
	if (!error) {
		strike->sibling = sibling;
		return 0;
	}
	free(sibling);
	return probe_broken(out, "sibling thread: %s", strerror(error));
}

static void stop_sibling(struct probe_sibling *sibling)
{
	pthread_mutex_lock(&sibling->lock);
	sibling->stop = true;
	pthread_mutex_unlock(&sibling->lock);
	pthread_join(sibling->thread, NULL);
	pthread_cond_destroy(&sibling->forked);
	pthread_mutex_destroy(&sibling->lock);
	free(sibling);
}

static int await_sibling(struct probe_sibling *sibling, unsigned more, struct probe_outcome *out)
{
	unsigned start;
	int error;

	pthread_mutex_lock(&sibling->lock);
	/* The fork under way may be older than the pin: only the one after it counts. */
	start = sibling->forks;
	sibling->enough = start + 2 + more;
	while (sibling->forks - start < 2 && !sibling->error)
		pthread_cond_wait(&sibling->forked, &sibling->lock);
	error = sibling->error;
	pthread_mutex_unlock(&sibling->lock);
	return error ? probe_broken(out, "fork: %s", strerror(error)) : 0;
}

/* Through a system call, which answers EFAULT where the child has no page. */
static void write_pages(const struct probe_buffer *buffer)
{
	int fd[2];

	if (pipe(fd))
		return;
	for (size_t at = 0; at < buffer->length; at += probe_page())
		if (write(fd[1], "!", 1) != 1 ||
		    (read(fd[0], buffer->addr + at, 1) != 1 && errno != EFAULT))
			return;
}

static _Noreturn void be_a_child(const struct probe_child *self, const struct probe_hazard *hazard,
				 const struct probe_buffer *buffer, size_t n)
{
	for (size_t i = 0; i < n && hazard->children_write; i++)
		write_pages(&buffer[i]);
	probe_tell(self->fd, 0);
	probe_hear(self->fd);
	_exit(0);
}

static int bear_a_child(struct probe_strike *strike, const struct probe_buffer *buffer, size_t n,
			struct probe_outcome *out)
{
	struct probe_child *child = &strike->child[strike->children];
	bool up;

	switch (probe_child_fork(child, strike->child, strike->children)) {
	case -1:
		return probe_broken(out, "fork: %s", strerror(errno));
	case 0:
		be_a_child(child, strike->hazard, buffer, n);
	}
	strike->children++;
	up = probe_hear(child->fd) == 0;
	if (strike->hazard->children_exit)
		probe_strike_calm(strike);
	return up ? 0 : probe_broken(out, "a child died");
}

int probe_strike_begin(struct probe_strike *strike, const struct probe_hazard *hazard,
		       struct probe_outcome *out)
{
	*strike = (struct probe_strike){ .hazard = hazard };
	if (hazard->forks && !hazard->sibling) {
		strike->child = calloc(hazard->forks, sizeof(*strike->child));
		if (!strike->child)
			return probe_refused(out, "children", ENOMEM);
	}
	return hazard->sibling ? start_sibling(strike, out) : 0;
}

int probe_strike_now(struct probe_strike *strike, const struct probe_buffer *buffer, size_t n,
		     struct probe_outcome *out)
{
	const struct probe_hazard *hazard = strike->hazard;

	for (unsigned i = 0; i < hazard->forks && !hazard->sibling; i++)
		if (bear_a_child(strike, buffer, n, out))
			return -1;
	for (size_t i = 0; i < n && hazard->strike; i++)
		if (hazard->strike(&buffer[i], out))
			return -1;
	return strike->sibling ? await_sibling(strike->sibling, hazard->forks, out) : 0;
}

int probe_strike_goes_on(struct probe_strike *strike, struct probe_outcome *out)
{
	struct probe_sibling *sibling = strike->sibling;
	int error;
	bool more;

	if (!sibling)
		return 0;
	pthread_mutex_lock(&sibling->lock);
	more = (int)(sibling->enough - sibling->forks) > 0;
	error = sibling->error;
	pthread_mutex_unlock(&sibling->lock);
	return error ? probe_broken(out, "fork: %s", strerror(error)) : more;
}

void probe_strike_calm(struct probe_strike *strike)
{
	while (strike->children) {
		struct probe_child *child = &strike->child[--strike->children];

		probe_tell(child->fd, 0);
		probe_child_reap(child);
	}
}

void probe_strike_end(struct probe_strike *strike)
{
	probe_strike_calm(strike);
	if (strike->sibling)
		stop_sibling(strike->sibling);
	if (strike->hazard->undo)
		strike->hazard->undo();
	free(strike->child);
}
