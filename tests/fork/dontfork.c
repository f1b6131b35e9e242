/* SPDX-License-Identifier: BSD-2-Clause */
/* Who held a page of a block before a fork sees what the parent writes after it. */
#include "support.h"

#include <sys/wait.h>
#include <unistd.h>

static void write_after_fork(unsigned char *byte, bool child_lives)
{
	struct t_event written;
	struct t_pin pin;
	unsigned char seen;
	int status;
	pid_t pid;

	t_event_init(&written);
	*byte = 1;
	t_pin_take(&pin, byte, 1);
	pid = fork();
	T_CHECK(pid >= 0);
	if (!pid) {
		if (child_lives)
			t_event_wait(&written);
		_exit(T_PASS);
	}
	if (!child_lives)
		T_CHECK(waitpid(pid, &status, 0) == pid && !status);
	*byte = 2;
	t_pin_read(&pin, &seen);
	t_event_set(&written);
	if (child_lives)
		T_CHECK(waitpid(pid, &status, 0) == pid && !status);
	t_event_destroy(&written);
	T_CHECKF(seen == 2, "the old byte was seen, the child %s",
		 child_lives ? "lives" : "is gone");
}

static void each_page(unsigned policy)
{
	static const size_t sizes[] = { 1, 3000, 70000, 3 * T_SLAB };
	rdm_pool *pool = t_pool("dontfork", RDM_BACKING_ANON, policy, T_SLAB, 0);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned char *block = t_malloc(pool, sizes[i]);

		for (int lives = 0; lives < 2; lives++) {
			write_after_fork(block, lives);
			write_after_fork(block + sizes[i] - 1, lives);
		}
		rdm_free(block);
	}
	T_CHECK(!rdm_pool_destroy(pool));
}

int main(void)
{
	each_page(RDM_FORK_HOLE);
	each_page(RDM_FORK_ZERO);
	each_page(RDM_FORK_COPY);
	return T_PASS;
}
