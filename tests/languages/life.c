/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A buffer's life: allocated, written, looked up, read by a device while the process forks, read in
 * the child, freed. The same program is here in each language, and prints the same. The device is a
 * pipe: vmsplice(2) gives it the pages, not a copy.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rdmalloc.h>

enum { LENGTH = 10000, LKEY = 7 };

static int reg(void *context, void *addr, size_t length, struct rdm_mr *mr)
{
	(void)addr;
	(void)length;
	++*(unsigned *)context;
	*mr = (struct rdm_mr){ .lkey = LKEY };
	return 0;
}

static int dereg(void *context, const struct rdm_mr *mr)
{
	--*(unsigned *)context;
	return mr->lkey != LKEY;
}

static int all_are(const unsigned char *bytes, unsigned char value)
{
	for (size_t i = 0; i < LENGTH; i++)
		if (bytes[i] != value)
			return 0;
	return 1;
}

int main(void)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;
	struct rdm_registrar registrar = {
		.size = sizeof(registrar), .name = "a pipe", .reg = reg, .dereg = dereg
	};
	struct rdm_stats stats = { .size = sizeof(stats) };
	unsigned char *buffer, received[LENGTH];
	unsigned registered = 0;
	int device[2], gate[2], status;
	struct rdm_key key;
	rdm_pool *pool;
	pid_t child;

	config.name = "life";
	config.fork = RDM_FORK_COPY;
	pool = rdm_pool_create(&config);
	if (!pool || pipe(device) || pipe(gate))
		err(1, "cannot begin");
	printf("rail: %d\n", rdm_pool_add_rail(pool, &registrar, &registered));

	buffer = rdm_malloc(pool, LENGTH);
	if (!buffer)
		err(1, "rdm_malloc");
	memset(buffer, 1, LENGTH);
	printf("registered: %u\n", registered);
	if (rdm_key(buffer + LENGTH - 1, 0, &key))
		err(1, "rdm_key");
	printf("key: %u, of all of it: %d\n", key.lkey,
	       (unsigned char *)key.base <= buffer &&
		       (unsigned char *)key.base + key.length >= buffer + LENGTH);

	if (vmsplice(device[1], &(struct iovec){ buffer, LENGTH }, 1, 0) != LENGTH)
		err(1, "vmsplice");
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child) {
		char go;

		if (read(gate[0], &go, 1) != 1 || !all_are(buffer, 1))
			_exit(1);
		memset(buffer, 3, LENGTH);
		_exit(0);
	}
	memset(buffer, 2, LENGTH);
	if (write(gate[1], "", 1) != 1 || waitpid(child, &status, 0) != child)
		err(1, "the child");
	printf("the child read what was written before it: %d\n", !status);
	if (read(device[0], received, LENGTH) != LENGTH)
		err(1, "read");
	printf("the device read what was written since: %d\n", all_are(received, 2));
	printf("and so did the parent: %d\n", all_are(buffer, 2));

	rdm_free(buffer);
	if (rdm_pool_stats(pool, &stats))
		err(1, "rdm_pool_stats");
	printf("live: %zu\n", stats.live_blocks);
	if (rdm_pool_destroy(pool))
		err(1, "rdm_pool_destroy");
	printf("registered: %u\n", registered);
	return 0;
}
