/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program's own memory, registered, used and deregistered again and again, with children
 * that live meanwhile: the device (io_uring's fixed buffers, where the kernel has such a rail, and
 * a pipe that holds the page) and the CPU see the same bytes, and the number of mappings stays
 * what it was.
 */
#include "support.h"

#include <liburing.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFERS = 8, PAGES = 4, ROUNDS = 10000, EACH = 20 };

static struct io_uring ring;
static int file;
static bool has_ring;

static void move(char *at, size_t length, bool to_file)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct io_uring_cqe *cqe;
	struct rdm_key key;

	T_CHECK(!rdm_key(at, 0, &key));
	if (to_file)
		io_uring_prep_write_fixed(sqe, file, at, (unsigned)length, 0, (int)key.lkey);
	else
		io_uring_prep_read_fixed(sqe, file, at, (unsigned)length, 0, (int)key.lkey);
	T_CHECK(io_uring_submit_and_wait(&ring, 1) == 1);
	T_CHECK(!io_uring_wait_cqe(&ring, &cqe));
	T_CHECKF(cqe->res == (int)length, "fixed %s: %d", to_file ? "write" : "read", cqe->res);
	io_uring_cqe_seen(&ring, cqe);
}

static void agree(char *at, size_t length, uint64_t id)
{
	static char seen[PAGES * 65536];

	if (!has_ring)
		return;
	t_pattern_fill(at, length, id);
	move(at, length, true);
	T_CHECK(pread(file, seen, length, 0) == (ssize_t)length);
	T_CHECKF(t_pattern_check(seen, length, id) == length,
		 "round %llu: the device did not read what the CPU wrote", (unsigned long long)id);
	t_pattern_fill(seen, length, ~id);
	T_CHECK(pwrite(file, seen, length, 0) == (ssize_t)length);
	move(at, length, false);
	T_CHECKF(t_pattern_check(at, length, ~id) == length,
		 "round %llu: the CPU did not read what the device wrote", (unsigned long long)id);
}

/* Who held the page sees what is written since. */
static void agree_held(const char *at, struct t_pin *pin)
{
	unsigned char seen[64];

	memset((char *)(uintptr_t)at, 'w', sizeof(seen));
	t_pin_read(pin, seen);
	T_CHECKF(t_is_byte(seen, sizeof(seen), 'w'), "who held the page has another one");
}

/* One that looks at its own copy until it is told to end. */
static pid_t start_child(const struct t_event *end)
{
	pid_t pid = fork();

	T_CHECK(pid >= 0);
	if (!pid) {
		t_event_wait((struct t_event *)end);
		_exit(0);
	}
	return pid;
}

static void play(unsigned policy)
{
	size_t length = PAGES * t_page();
	rdm_pool *pool = t_pool("foreign", 0, policy, 0, 0);
	struct t_rng rng = { .state = t_seed() };
	unsigned rounds = t_quick() ? ROUNDS / 20 : ROUNDS;
	struct t_recorder *rail = t_recorder_new("holds");
	struct t_event end;
	size_t vmas;
	/* Every second one, so that neighbours stay ordinary memory. */
	char *memory = mmap(NULL, 2 * BUFFERS * length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	T_CHECK(memory != MAP_FAILED);
	/* Only what a rail has is written to first, and there may be no other. */
	has_ring = has_ring && !rdm_pool_add_uring(pool, &ring, 0);
	t_recorder_add(rail, pool);
	t_event_init(&end);
	vmas = t_vmas_total();
	for (unsigned round = 0; round < rounds; round++) {
		char *at = memory + 2 * t_below(&rng, BUFFERS) * length;
		struct t_pin pin;
		pid_t pid = 0;
		int status;

		/* A page that a living child shares is made this process's own again. */
		if (round % EACH == 1)
			pid = start_child(&end);
		T_CHECK(!rdm_register(pool, at, length));
		if (round % EACH < 2)
			t_pin_take(&pin, at, 64);
		if (round % EACH == 0)
			pid = start_child(&end);
		if (pid)
			agree_held(at, &pin);
		agree(at, length, round);
		if (pid) {
			t_event_set(&end);
			T_CHECK(waitpid(pid, &status, 0) == pid && !status);
		}
		agree(at, length, round + (uint64_t)rounds);
		T_CHECK(!rdm_deregister(pool, at, length));
		T_CHECKF(t_vmas_total() <= vmas + 16, "%zu mappings, there were %zu",
			 t_vmas_total(), vmas);
	}
	T_CHECK(!rdm_pool_destroy(pool));
	t_recorder_free(rail);
	t_event_destroy(&end);
	munmap(memory, 2 * BUFFERS * length);
}

int main(void)
{
	static const unsigned policy[] = { RDM_FORK_HOLE, RDM_FORK_ZERO, RDM_FORK_COPY };

	for (unsigned i = 0; i < 3; i++) {
		bool begun = !io_uring_queue_init(8, &ring, 0);

		has_ring = begun;
		file = memfd_create("device", MFD_CLOEXEC);
		T_CHECK(file >= 0);
		play(policy[i]);
		if (begun)
			io_uring_queue_exit(&ring);
		close(file);
	}
	return T_PASS;
}
