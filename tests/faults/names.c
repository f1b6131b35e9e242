/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line names the function that was called, whichever of the library's comes to the refusal: with
 * no pool, with nonsense, and from inside a registrar. It is all that the caller's author has.
 */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The compiler knows what these functions refuse. */
static volatile size_t huge = SIZE_MAX, three = 3, one = 1;
static void *volatile result;
static volatile int status;

static void call_malloc(rdm_pool *pool)
{
	result = rdm_malloc(pool, one);
}

static void call_calloc(rdm_pool *pool)
{
	result = rdm_calloc(pool, one, one);
}

static void call_aligned_alloc(rdm_pool *pool)
{
	result = rdm_aligned_alloc(pool, T_SLAB, T_SLAB);
}

static void call_realloc(rdm_pool *pool)
{
	result = rdm_realloc(pool, NULL, one);
}

static void call_reserve(rdm_pool *pool)
{
	status = rdm_pool_reserve(pool, T_SLAB);
}

static void call_reserve_progress(rdm_pool *pool)
{
	status = rdm_pool_reserve_progress(pool, T_SLAB, NULL, NULL);
}

static void call_trim(rdm_pool *pool)
{
	status = rdm_pool_trim(pool, 0);
}

static void call_reset(rdm_pool *pool)
{
	status = rdm_pool_reset(pool);
}

static void call_destroy(rdm_pool *pool)
{
	status = rdm_pool_destroy(pool);
}

static void call_audit(rdm_pool *pool)
{
	struct rdm_audit audit = { .size = sizeof(audit) };

	status = rdm_pool_audit(pool, &audit);
}

static void call_stats(rdm_pool *pool)
{
	struct rdm_stats stats = { .size = sizeof(stats) };

	status = rdm_pool_stats(pool, &stats);
}

static void call_add_rail(rdm_pool *pool)
{
	struct t_recorder *recorder = t_recorder_new("another");

	status = rdm_pool_add_rail(pool, &recorder->ops, recorder);
	t_recorder_free(recorder);
}

static void call_add_verbs(rdm_pool *pool)
{
	status = rdm_pool_add_verbs(pool, NULL, 0);
}

static void call_add_uring(rdm_pool *pool)
{
	status = rdm_pool_add_uring(pool, NULL, 0);
}

static void call_remove_rail(rdm_pool *pool)
{
	status = rdm_pool_remove_rail(pool, 7);
}

static void call_export(rdm_pool *pool)
{
	status = (int)rdm_regions_export(pool, 0, NULL, 0);
}

static int visit(void *context, void *block, size_t size)
{
	(void)context;
	return block && size;
}

static void call_each_block(rdm_pool *pool)
{
	status = rdm_pool_each_block(pool, visit, NULL);
}

static void each_block_of_nobody(rdm_pool *pool)
{
	status = rdm_pool_each_block(pool, NULL, NULL);
}

/* Of the program's own. */
static _Alignas(65536) char page[65536];

static void call_register(rdm_pool *pool)
{
	status = rdm_register(pool, page, sizeof(page));
}

static void call_register_unsafe(rdm_pool *pool)
{
	status = rdm_register_unsafe(pool, page, sizeof(page));
}

static void call_deregister(rdm_pool *pool)
{
	status = rdm_deregister(pool, page, sizeof(page));
}

static void call_create(rdm_pool *pool)
{
	struct rdm_pool_config config = RDM_POOL_CONFIG_INIT;

	/* Without a pool: one that cannot be. */
	config.size -= !pool;
	result = rdm_pool_create(&config);
}

/* What has a pool as its argument, and may not be called by a registrar. */
static const struct call {
	const char *name;
	void (*run)(rdm_pool *pool);
} of_pools[] = {
	{ "rdm_malloc", call_malloc },
	{ "rdm_calloc", call_calloc },
	{ "rdm_aligned_alloc", call_aligned_alloc },
	{ "rdm_realloc", call_realloc },
	{ "rdm_pool_reserve", call_reserve },
	{ "rdm_pool_reserve_progress", call_reserve_progress },
	{ "rdm_pool_trim", call_trim },
	{ "rdm_pool_reset", call_reset },
	{ "rdm_pool_destroy", call_destroy },
	{ "rdm_pool_audit", call_audit },
	{ "rdm_pool_stats", call_stats },
	{ "rdm_pool_add_rail", call_add_rail },
	{ "rdm_pool_add_verbs", call_add_verbs },
	{ "rdm_pool_add_uring", call_add_uring },
	{ "rdm_pool_remove_rail", call_remove_rail },
	{ "rdm_regions_export", call_export },
	{ "rdm_pool_create", call_create },
	{ "rdm_pool_each_block", call_each_block },
	{ "rdm_register", call_register },
	{ "rdm_register_unsafe", call_register_unsafe },
	{ "rdm_deregister", call_deregister },
};
enum { OF_POOLS = sizeof(of_pools) / sizeof(of_pools[0]) };

static void malloc_of_too_much(rdm_pool *pool)
{
	result = rdm_malloc(pool, huge);
}

static void calloc_of_too_much(rdm_pool *pool)
{
	result = rdm_calloc(pool, huge, 2);
}

static void aligned_to_too_much(rdm_pool *pool)
{
	result = rdm_aligned_alloc(pool, huge / 2 + 1, 1);
}

static void aligned_to_three(rdm_pool *pool)
{
	result = rdm_aligned_alloc(pool, three, 1);
}

static void realloc_to_too_much(rdm_pool *pool)
{
	void *block = t_malloc(pool, 100);

	result = rdm_realloc(pool, block, huge);
	rdm_free(block);
}

static void realloc_of_another_pool(rdm_pool *pool)
{
	rdm_pool *other = t_pool("other", 0, 0, 0, 0);
	void *block = t_malloc(other, 100);

	result = rdm_realloc(pool, block, 200);
}

static void realloc_of_a_stranger(rdm_pool *pool)
{
	static char stranger[100];

	result = rdm_realloc(pool, stranger + three, 200);
}

static void free_of_a_stranger(rdm_pool *pool)
{
	static char stranger[100];

	(void)pool;
	rdm_free(stranger + three);
}

static void free_twice(rdm_pool *pool)
{
	void *volatile block = t_malloc(pool, 100);

	rdm_free(block);
	rdm_free(block);
}

static void free_sized_of_a_stranger(rdm_pool *pool)
{
	static char stranger[100];

	(void)pool;
	rdm_free_sized(stranger + three, 100);
}

static void free_with_another_size(rdm_pool *pool)
{
	rdm_free_sized(t_malloc(pool, 100), 5000);
}

static void reserve_too_much(rdm_pool *pool)
{
	status = rdm_pool_reserve(pool, huge / 2);
}

static void reserve_too_much_in_steps(rdm_pool *pool)
{
	status = rdm_pool_reserve_progress(pool, huge / 2, NULL, NULL);
}

static void audit_of_no_size(rdm_pool *pool)
{
	struct rdm_audit audit = { .size = 1 };

	status = rdm_pool_audit(pool, &audit);
}

static void stats_of_no_size(rdm_pool *pool)
{
	status = rdm_pool_stats(pool, NULL);
}

static void no_registrar(rdm_pool *pool)
{
	status = rdm_pool_add_rail(pool, NULL, NULL);
}

static void destroy_what_is_used(rdm_pool *pool)
{
	result = t_malloc(pool, 100);
	status = rdm_pool_destroy(pool);
}

static void register_half_a_page(rdm_pool *pool)
{
	status = rdm_register(pool, page, 1);
}

static void register_nothing(rdm_pool *pool)
{
	status = rdm_register_unsafe(pool, page, huge / 2);
}

/* Of a pool that is fine. */
static const struct call nonsense[] = {
	{ "rdm_malloc", malloc_of_too_much },
	{ "rdm_calloc", calloc_of_too_much },
	{ "rdm_aligned_alloc", aligned_to_too_much },
	{ "rdm_aligned_alloc", aligned_to_three },
	{ "rdm_realloc", realloc_to_too_much },
	{ "rdm_realloc", realloc_of_another_pool },
	{ "rdm_realloc", realloc_of_a_stranger },
	{ "rdm_free", free_of_a_stranger },
	{ "rdm_free", free_twice },
	{ "rdm_free_sized", free_sized_of_a_stranger },
	{ "rdm_free_sized", free_with_another_size },
	{ "rdm_pool_reserve", reserve_too_much },
	{ "rdm_pool_reserve_progress", reserve_too_much_in_steps },
	{ "rdm_pool_audit", audit_of_no_size },
	{ "rdm_pool_stats", stats_of_no_size },
	{ "rdm_pool_add_rail", no_registrar },
	{ "rdm_pool_add_verbs", call_add_verbs },
	{ "rdm_pool_add_uring", call_add_uring },
	{ "rdm_pool_remove_rail", call_remove_rail },
	{ "rdm_pool_destroy", destroy_what_is_used },
	{ "rdm_pool_each_block", each_block_of_nobody },
	{ "rdm_register", register_half_a_page },
	{ "rdm_register_unsafe", register_nothing },
	{ "rdm_deregister", call_deregister },
};
enum { NONSENSE = sizeof(nonsense) / sizeof(nonsense[0]) };

static int without_a_pool(void *arg)
{
	((const struct call *)arg)->run(NULL);
	return T_PASS;
}

static int with_a_pool(void *arg)
{
	((const struct call *)arg)->run(t_pool("names", 0, 0, 0, 0));
	return T_PASS;
}

static const struct call *wanted;

static void call_back(struct t_recorder *recorder, void *addr, size_t length)
{
	(void)addr;
	(void)length;
	wanted->run(recorder->user);
}

static int inside_a_registrar(void *arg)
{
	struct t_recorder *recorder = t_recorder_new("recorder");
	rdm_pool *pool = t_pool("outer", 0, 0, 0, 0);

	wanted = arg;
	recorder->user = t_pool("inner", 0, 0, 0, 0);
	recorder->on_reg = call_back;
	t_recorder_add(recorder, pool);
	rdm_free(rdm_malloc(pool, 1));
	return T_PASS;
}

/* One line, which begins with "rdmalloc: " and the name, and no longer name of which it is a part. */
static void check(const struct call *call, int (*way)(void *arg), const char *where)
{
	static const char prefix[] = "rdmalloc: ";
	struct t_caught caught;
	const char *rest;

	t_catch(&caught, way, (void *)(uintptr_t)call);
	rest = caught.err + sizeof(prefix) - 1;
	T_CHECKF(t_lines(caught.err) == 1 && !strncmp(caught.err, prefix, sizeof(prefix) - 1) &&
			 !strncmp(rest, call->name, strlen(call->name)) &&
			 strchr(":(", rest[strlen(call->name)]),
		 "%s %s: it says \"%s\"", call->name, where, caught.err);
	T_CHECKF((WIFEXITED(caught.status) && !WEXITSTATUS(caught.status)) ||
			 (WIFSIGNALED(caught.status) && WTERMSIG(caught.status) == SIGABRT),
		 "%s %s: status %#x", call->name, where, (unsigned)caught.status);
}

static void no_pool(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OF_POOLS; i++)
		check(&of_pools[i], without_a_pool, "without a pool");
}

static void bad_arguments(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NONSENSE; i++)
		check(&nonsense[i], with_a_pool, "with nonsense");
}

static void registrars(void **state)
{
	(void)state;
	for (unsigned i = 0; i < OF_POOLS; i++)
		check(&of_pools[i], inside_a_registrar, "in a registrar");
}

/* What a line is where stderr has been replaced by a file, which others can open or not. */
static int replaced(bool has_name, char *line, size_t room)
{
	char path[] = "/tmp/rdmalloc-names-XXXXXX";
	int fd = mkstemp(path), kept = dup(STDERR_FILENO);
	ssize_t got;

	T_CHECK(fd >= 0 && kept >= 0);
	if (!has_name)
		T_CHECK(!unlink(path));
	T_CHECK(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
	call_malloc(NULL);
	T_CHECK(dup2(kept, STDERR_FILENO) == STDERR_FILENO);
	got = pread(fd, line, room - 1, 0);
	T_CHECK(got >= 0);
	line[got] = '\0';
	close(fd);
	close(kept);
	return has_name ? unlink(path) : 0;
}

static void stderr_is_a_file(void **state)
{
	char line[256];

	(void)state;
	assert_int_equal(replaced(false, line, sizeof(line)), 0);
	T_CHECKF(!strncmp(line, "rdmalloc: rdm_malloc:", 21), "it says \"%s\"", line);
	/* It may be the program's data. */
	assert_int_equal(replaced(true, line, sizeof(line)), 0);
	T_CHECKF(!*line, "a file that has a name got \"%s\"", line);
}

/* These refuse with errno alone, or never. */
static const char *const silent[] = {
	"rdm_key", "rdm_pool_of",      "rdm_regions_check", "rdm_regions_resolve",
	"rdm_sge", "rdm_thread_flush", "rdm_usable_size",   "rdm_version",
};

static bool is_tried(const char *name)
{
	for (unsigned i = 0; i < OF_POOLS; i++)
		if (!strcmp(of_pools[i].name, name))
			return true;
	for (unsigned i = 0; i < NONSENSE; i++)
		if (!strcmp(nonsense[i].name, name))
			return true;
	for (unsigned i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		if (!strcmp(silent[i], name))
			return true;
	return false;
}

static void none_is_left_out(void **state)
{
	const char *source = getenv("RDM_SRCDIR");
	char path[4096], line[256], name[64];
	unsigned count = 0;
	FILE *map;

	(void)state;
	snprintf(path, sizeof(path), "%s/lib/api/librdmalloc.map", source ? source : ".");
	map = fopen(path, "re");
	if (!map) {
		t_say("SKIP: %s cannot be read", path);
		skip();
	}
	while (fgets(line, sizeof(line), map))
		if (sscanf(line, " %63[a-z_];", name) == 1 && !strncmp(name, "rdm_", 4)) {
			T_CHECKF(is_tried(name), "%s is not tried here", name);
			count++;
		}
	fclose(map);
	assert_true(count > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_pool),          cmocka_unit_test(bad_arguments),
		cmocka_unit_test(registrars),       cmocka_unit_test(stderr_is_a_file),
		cmocka_unit_test(none_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
