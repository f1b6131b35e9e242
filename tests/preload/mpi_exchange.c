/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Usage: mpi_exchange [ROUNDS [MAX_BYTES [childless|few]...]]
 *
 * Every rank exchanges messages of 1 byte to MAX_BYTES with both of its neighbours,
 * then sends back what it got out of the very same memory; while the messages fly it
 * starts children in every way there is. Each payload is a function of sender, way,
 * size and round, and is checked byte for byte. A child of fork() checks what it
 * inherited, writes over all of it and allocates; some live on while the parent
 * overwrites and exchanges, and must still see what was there when they were born.
 * "few" is every other size only.
 */
#include <errno.h>
#include <mpi.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define MIB ((size_t)1 << 20)
static const size_t sizes[] = { 1,       7,         64,      1000,     4096,     8191,
				8192,    8193,      20000,   65536,    65537,    300000,
				MIB - 1, MIB + 100, 4 * MIB, 10000000, 16 * MIB, 64 * MIB };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

/* Clockwise from rank to rank and back. */
enum { RIGHT, LEFT, WAYS };
enum { MALLOC, CALLOC, REALLOC, MPI_MEMORY, KEPT, KINDS };

struct buffer {
	unsigned char *bytes;
	size_t room;
	int kind;
};

/* What one step of the exchange has in memory. */
struct step {
	size_t size;
	unsigned round;
	struct buffer out[WAYS], in[WAYS];
	/* Which of the two nobody writes to now; the other may be half received. */
	struct buffer *known;
	int known_is_in;
};

static int rank, ranks, childless;
static unsigned long messages, forks;
static pid_t living;
static int release_fd;

__attribute__((noreturn, format(printf, 1, 2))) static void wrong(const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	dprintf(2, "mpi_exchange: rank %d: %s\n", rank, line);
	MPI_Abort(MPI_COMM_WORLD, 1);
	_exit(1);
}

static uint64_t mixed(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static uint64_t seed_of(int sender, int way, size_t size, unsigned round)
{
	return mixed(mixed(mixed((uint64_t)sender * WAYS + (unsigned)way + 1) + size) + round);
}

static uint64_t word_of(uint64_t seed, size_t i)
{
	uint64_t x = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ (x >> 32);
}

static void fill(unsigned char *to, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = word_of(seed, i);

		memcpy(to + i, &word, size - i < 8 ? size - i : 8);
	}
}

/* The offset of the first byte that is not what fill() wrote; size if all are. */
static size_t first_wrong(const unsigned char *from, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += 8) {
		uint64_t word = word_of(seed, i);

		if (memcmp(from + i, &word, size - i < 8 ? size - i : 8) == 0)
			continue;
		while (from[i] == (unsigned char)(word >> i % 8 * 8))
			i++;
		return i;
	}
	return size;
}

static unsigned char *grown(size_t size)
{
	size_t before = size / 3 + 1;
	unsigned char *bytes = malloc(before);

	if (!bytes)
		return NULL;
	fill(bytes, before, size);
	bytes = realloc(bytes, size > before ? size : before);
	if (bytes && first_wrong(bytes, before, size) != before)
		wrong("realloc from %zu to %zu bytes lost what was there", before, size);
	return bytes;
}

static unsigned char *zeroed(size_t size)
{
	unsigned char *bytes = calloc(size, 1);

	for (size_t i = 0; bytes && i < size; i++)
		if (bytes[i])
			wrong("calloc of %zu bytes: byte %zu is %u", size, i, bytes[i]);
	return bytes;
}

static void give_back(struct buffer *buffer)
{
	if (buffer->bytes && buffer->kind == MPI_MEMORY)
		MPI_Free_mem(buffer->bytes);
	else
		free(buffer->bytes);
	buffer->bytes = NULL;
}

static void obtain(struct buffer *buffer, size_t size, int kind)
{
	if (kind == KEPT && buffer->bytes && buffer->room >= size)
		return;
	give_back(buffer);
	buffer->kind = kind;
	buffer->room = size;
	if (kind == CALLOC)
		buffer->bytes = zeroed(size);
	else if (kind == REALLOC)
		buffer->bytes = grown(size);
	else if (kind != MPI_MEMORY)
		buffer->bytes = malloc(size);
	else if (MPI_Alloc_mem((MPI_Aint)size, MPI_INFO_NULL, &buffer->bytes) != MPI_SUCCESS)
		buffer->bytes = NULL;
	if (!buffer->bytes)
		wrong("no memory for %zu bytes", size);
}

/* Who sent what moves that way and arrives here. */
static int sender_of(int way)
{
	return (rank + (way == RIGHT ? ranks - 1 : 1)) % ranks;
}

static void check(const struct step *s, int is_in, const char *where)
{
	for (int way = 0; way < WAYS; way++) {
		const unsigned char *bytes = (is_in ? s->in : s->out)[way].bytes;
		int sender = is_in ? sender_of(way) : rank;
		size_t bad = first_wrong(bytes, s->size, seed_of(sender, way, s->size, s->round));

		if (bad != s->size)
			wrong("%s, round %u: %zu bytes %s rank %d are wrong from byte %zu on (%u)",
			      where, s->round, s->size, is_in ? "received from" : "sent by", sender,
			      bad, bytes[bad]);
	}
}

/* wrong() without MPI, which a child must not call. */
static void child_check(const struct step *s, const char *when)
{
	for (int way = 0; way < WAYS; way++) {
		int sender = s->known_is_in ? sender_of(way) : rank;
		size_t bad = first_wrong(s->known[way].bytes, s->size,
					 seed_of(sender, way, s->size, s->round));

		if (bad == s->size)
			continue;
		dprintf(2, "mpi_exchange: rank %d: child, %s, round %u: byte %zu of %zu is wrong\n",
			rank, when, s->round, bad, s->size);
		_exit(3);
	}
}

static void child_writes(const struct step *s)
{
	unsigned char *fresh;

	for (int way = 0; way < WAYS; way++) {
		memset(s->in[way].bytes, 0xc1, s->size);
		memset(s->out[way].bytes, 0xc2, s->size);
	}
	fresh = malloc(s->size);
	if (!fresh)
		_exit(4);
	fill(fresh, s->size, s->size);
	for (int way = 0; way < WAYS; way++)
		if (s->in[way].bytes[s->size - 1] != 0xc1 || s->out[way].bytes[0] != 0xc2)
			_exit(5);
	if (first_wrong(fresh, s->size, s->size) != s->size)
		_exit(6);
	free(fresh);
}

static void expect_exit(pid_t child, int expected, const char *what)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			wrong("%s: waitpid: %s", what, strerror(errno));
	if (WIFSIGNALED(status))
		wrong("%s died of signal %d", what, WTERMSIG(status));
	if (WEXITSTATUS(status) != expected)
		wrong("%s ended with status %d", what, WEXITSTATUS(status));
}

static pid_t forked(void)
{
	pid_t child = fork();

	if (child < 0)
		wrong("fork: %s", strerror(errno));
	forks++;
	return child;
}

static void fork_short(const struct step *s)
{
	pid_t child = forked();

	if (!child) {
		child_check(s, "at once");
		child_writes(s);
		_exit(0);
	}
	expect_exit(child, 0, "a child of fork()");
}

static void fork_living(const struct step *s)
{
	int ends[2];
	char byte;

	if (living)
		return;
	if (pipe(ends))
		wrong("pipe: %s", strerror(errno));
	living = forked();
	if (!living) {
		close(ends[1]);
		child_check(s, "at once");
		while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
			;
		child_check(s, "after the parent went on");
		child_writes(s);
		_exit(0);
	}
	close(ends[0]);
	release_fd = ends[1];
}

static void end_living(void)
{
	if (!living)
		return;
	close(release_fd);
	expect_exit(living, 0, "a child that lived on");
	living = 0;
}

static void call_system(void)
{
	int status = system("exit 7");

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
		wrong("system() returned %d", status);
}

static void call_popen(void)
{
	char line[32] = "";
	FILE *output = popen("echo from a pipe", "r");

	if (!output || !fgets(line, sizeof(line), output) || strcmp(line, "from a pipe\n") != 0)
		wrong("popen() gave \"%s\"", line);
	if (pclose(output))
		wrong("pclose() did not return 0");
}

static void call_posix_spawn(void)
{
	char *argv[] = { "sh", "-c", "exit 5", NULL };
	pid_t child;
	int error = posix_spawn(&child, "/bin/sh", NULL, NULL, argv, environ);

	if (error)
		wrong("posix_spawn: %s", strerror(error));
	expect_exit(child, 5, "a child of posix_spawn()");
}

static void start_children(const struct step *s)
{
	static unsigned turn;

	if (childless)
		return;
	switch (((unsigned)rank + turn++) % 6) {
	case 0:
	case 3:
		fork_short(s);
		break;
	case 1:
		fork_living(s);
		break;
	case 2:
		call_system();
		break;
	case 4:
		call_popen();
		break;
	default:
		call_posix_spawn();
		break;
	}
}

/* Sends to[] on its way and receives into from[] what comes the same way. */
static void exchange(struct step *s, struct buffer *to, struct buffer *from, int backwards)
{
	MPI_Request request[2 * WAYS];
	MPI_Status status[2 * WAYS];
	int size = (int)s->size, done;

	for (int way = 0; way < WAYS; way++) {
		int behind = sender_of(way), ahead = sender_of(WAYS - 1 - way);

		MPI_Irecv(from[way].bytes, size, MPI_BYTE, backwards ? ahead : behind, way,
			  MPI_COMM_WORLD, &request[way]);
		MPI_Isend(to[way].bytes, size, MPI_BYTE, backwards ? behind : ahead, way,
			  MPI_COMM_WORLD, &request[WAYS + way]);
		messages++;
	}
	s->known = to;
	s->known_is_in = backwards;
	start_children(s);
	MPI_Testall(2 * WAYS, request, &done, status);
	if (!done)
		start_children(s);
	MPI_Waitall(2 * WAYS, request, status);
}

static void there_and_back(struct step *s)
{
	for (int way = 0; way < WAYS; way++) {
		fill(s->out[way].bytes, s->size, seed_of(rank, way, s->size, s->round));
		memset(s->in[way].bytes, 0xe1, s->size);
	}
	exchange(s, s->out, s->in, 0);
	check(s, 1, "there");
	check(s, 0, "there");
	for (int way = 0; way < WAYS; way++)
		memset(s->out[way].bytes, 0xe2, s->size);
	exchange(s, s->in, s->out, 1);
	check(s, 1, "back");
	check(s, 0, "back");
}

static void all_to_all(struct step *s)
{
	size_t each = s->size / (size_t)ranks;
	unsigned char *out = s->out[RIGHT].bytes, *in = s->in[LEFT].bytes;

	if (!each)
		return;
	for (int to = 0; to < ranks; to++)
		fill(out + (size_t)to * each, each, seed_of(rank, to, each, s->round));
	MPI_Alltoall(out, (int)each, MPI_BYTE, in, (int)each, MPI_BYTE, MPI_COMM_WORLD);
	messages += (unsigned long)ranks;
	for (int from = 0; from < ranks; from++)
		if (first_wrong(in + (size_t)from * each, each,
				seed_of(from, rank, each, s->round)) != each)
			wrong("alltoall, round %u: %zu bytes from rank %d are wrong", s->round,
			      each, from);
}

static void all_reduce(struct step *s)
{
	size_t words = s->size / sizeof(uint64_t);
	uint64_t *out = (uint64_t *)(void *)s->out[LEFT].bytes;
	uint64_t *in = (uint64_t *)(void *)s->in[RIGHT].bytes;

	for (size_t i = 0; i < words; i++)
		out[i] = (uint64_t)(rank + 1) * (i + s->round);
	MPI_Allreduce(out, in, (int)words, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
	messages++;
	for (size_t i = 0; i < words; i++)
		if (in[i] != (uint64_t)(ranks * (ranks + 1) / 2) * (i + s->round))
			wrong("allreduce, round %u: word %zu of %zu is wrong", s->round, i, words);
}

static void run_step(struct step *s, unsigned n)
{
	for (int way = 0; way < WAYS; way++) {
		int kind = (int)(n + s->round + (unsigned)(rank + way)) % KINDS;

		obtain(&s->out[way], s->size, kind);
		obtain(&s->in[way], s->size, (kind + 2) % KINDS);
	}
	there_and_back(s);
	all_to_all(s);
	all_reduce(s);
	end_living();
	for (int way = 0; way < WAYS; way++) {
		if (s->out[way].kind != KEPT)
			give_back(&s->out[way]);
		if (s->in[way].kind != KEPT)
			give_back(&s->in[way]);
	}
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1;
	size_t max = argc > 2 ? strtoul(argv[2], NULL, 10) : sizes[SIZES - 1];
	struct step step = { 0 };
	unsigned long counts[2], total[2];
	int few = 0;

	for (int i = 3; i < argc; i++) {
		childless |= strcmp(argv[i], "childless") == 0;
		few |= strcmp(argv[i], "few") == 0;
	}
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	for (step.round = 0; step.round < rounds; step.round++)
		/* Not in order, so that what is kept meets other sizes; 5 and SIZES have
		 * no common divisor. */
		for (unsigned n = 0; n < SIZES; n++) {
			unsigned i = n * 5 % SIZES;

			step.size = sizes[i];
			if (step.size <= max && !(few && i % 2))
				run_step(&step, n);
		}
	for (int way = 0; way < WAYS; way++) {
		give_back(&step.out[way]);
		give_back(&step.in[way]);
	}
	counts[0] = messages;
	counts[1] = forks;
	MPI_Reduce(counts, total, 2, MPI_UNSIGNED_LONG, MPI_SUM, 0, MPI_COMM_WORLD);
	MPI_Finalize();
	if (rank == 0)
		printf("%lu messages, %lu forks: all right\n", total[0], total[1]);
	return 0;
}
