/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Statistics pages of somebody who is not to be trusted: this process has them open, and changes
 * them between any two reads of the tool's.
 */
#include "support.h"

#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/figures.h"
#include "tools/published.h"

#define PAGE_BYTES (4 << 20)

/* The linker sends the tool's calls here (--wrap). */
ssize_t __real_pread(int fd, void *to, size_t bytes, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t bytes, off_t at);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

static struct rdm_picture_header *page;
static int page_fd;
static void (*change)(void);
static unsigned reads, naps;
static struct t_rng rng;

ssize_t __wrap_pread(int fd, void *to, size_t bytes, off_t at)
{
	ssize_t got = __real_pread(fd, to, bytes, at);

	reads++;
	if (change)
		change();
	return got;
}

/* Time passes in no time. */
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
	(void)wanted;
	(void)left;
	naps++;
	return 0;
}

static uint64_t read_start(void)
{
	FILE *stat = fopen("/proc/self/stat", "re");
	char text[1024] = "";
	const char *field;

	T_CHECK(stat && fgets(text, sizeof(text), stat));
	fclose(stat);
	field = strrchr(text, ')');
	for (unsigned i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	T_CHECK(field);
	return strtoull(field, NULL, 10);
}

static struct rdm_picture_pool *pools(void)
{
	return (struct rdm_picture_pool *)(page + 1);
}

static struct rdm_picture_slab *slabs(void)
{
	return (struct rdm_picture_slab *)(void *)(pools() + page->pools);
}

static void sum_up(void)
{
	page->bytes = sizeof(*page) + page->pools * sizeof(struct rdm_picture_pool) +
		      page->slabs * sizeof(struct rdm_picture_slab) +
		      page->cells * sizeof(struct rdm_picture_cell);
}

/* A page of two pools and four slabs in which all is well. */
static void fill(void)
{
	memset(page, 0, PAGE_BYTES);
	*page = (struct rdm_picture_header){
		.magic = RDM_PICTURE_MAGIC,
		.version = RDM_PICTURE_VERSION,
		.sequence = 2,
		.pid = (uint64_t)getpid(),
		.start = read_start(),
		.page_bytes = 4096,
		.pools = 2,
		.slabs = 4,
		.cells = 64,
		.cell_shift = 17,
		.library = "1.2",
	};
	sum_up();
	for (unsigned i = 0; i < 4; i++)
		slabs()[i] = (struct rdm_picture_slab){
			.base = 1 << 30, .length = 2 << 20, .pool = i % 2, .first_cell = 16 * i
		};
}

static int set_up(void **state)
{
	(void)state;
	page_fd = memfd_create(RDM_PICTURE_NAME, 0);
	T_CHECK(page_fd >= 0 && !ftruncate(page_fd, PAGE_BYTES));
	page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, page_fd, 0);
	T_CHECK(page != MAP_FAILED);
	fill();
	change = NULL;
	reads = naps = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	munmap(page, PAGE_BYTES);
	close(page_fd);
	return 0;
}

static enum heap_error look(struct heap *heap)
{
	struct heap_patience patience;

	heap_be_patient(&patience);
	return heap_read(heap, getpid(), &patience);
}

/* Whatever is used of it is in the copy, and no cell is used twice. */
static void check(const struct heap *heap)
{
	const struct rdm_picture_header *header = heap->header;
	uint64_t cells = 0;

	assert_true(header->pools <= RDM_PICTURE_POOLS && header->slabs <= RDM_PICTURE_SLABS &&
		    header->cells <= RDM_PICTURE_CELLS);
	assert_true(header->cell_shift >= 16 && header->cell_shift <= 21);
	assert_true((const char *)(heap->cells + header->cells) - (const char *)header <=
		    (ptrdiff_t)header->bytes);
	for (uint32_t i = 0; i < header->slabs; i++) {
		const struct rdm_picture_slab *slab = &heap->slabs[i];

		assert_true(slab->pool < header->pools);
		assert_true(slab->first_cell >= cells);
		cells = slab->first_cell + (slab->length >> header->cell_shift);
		assert_true(cells <= header->cells);
	}
	json_decref(heap_json(heap));
}

static void nothing_wrong(void **state)
{
	struct heap heap;

	(void)state;
	assert_int_equal(look(&heap), HEAP_READ);
	check(&heap);
	assert_int_equal(heap.header->slabs, 4);
	assert_int_equal(naps, 0);
	heap_free(&heap);
}

/* One more number that is not what it was. */
static void change_numbers(void)
{
	static const uint32_t numbers[] = { 0, 1, 2, 3, 4, 64, 1000000, UINT32_MAX };
	uint32_t number = numbers[t_below(&rng, 8)];

	switch (t_below(&rng, 9)) {
	case 0:
		page->pools = number;
		break;
	case 1:
		page->slabs = number;
		break;
	case 2:
		page->cells = number;
		break;
	case 3:
		page->cell_shift = number;
		break;
	case 4:
		page->bytes = t_below(&rng, 2) ? number : UINT64_MAX - number;
		break;
	case 5:
		page->sequence += t_below(&rng, 4);
		break;
	case 6:
		sum_up();
		break;
	default:
		page->pools = 2;
		page->slabs = 4;
		page->cells = 64;
		page->cell_shift = 17;
		page->sequence = 2;
		sum_up();
		break;
	}
}

static void changes_between_reads(void **state)
{
	unsigned whole = 0, rounds = t_quick() ? 500 : 5000;

	(void)state;
	rng.state = t_seed();
	change = change_numbers;
	for (unsigned i = 0; i < rounds; i++) {
		struct heap heap;

		if (look(&heap) == HEAP_READ) {
			check(&heap);
			heap_free(&heap);
			whole++;
		}
		/* The last numbers stay for the next round's first read, half of the time. */
		if (i % 2)
			fill();
	}
	T_CHECKF(whole, "no page of %u was ever taken", rounds);
}

static void shrink(void)
{
	T_CHECK(!ftruncate(page_fd, reads % 2 ? (off_t)sizeof(*page) : PAGE_BYTES));
	if (!(reads % 2))
		fill();
}

static void shrinks_between_reads(void **state)
{
	(void)state;
	change = shrink;
	for (unsigned i = 0; i < 20; i++) {
		struct heap heap;

		if (look(&heap) == HEAP_READ) {
			check(&heap);
			heap_free(&heap);
		}
	}
}

/* A file of a tebibyte, nearly all of it holes. */
static void huge_and_sparse(void **state)
{
	struct heap heap;

	(void)state;
	if (ftruncate(page_fd, (off_t)1 << 40)) {
		t_say("SKIP: no file of 1 TiB: %s", strerror(errno));
		skip();
	}
	assert_int_equal(look(&heap), HEAP_READ);
	heap_free(&heap);
	page->bytes = (uint64_t)1 << 40;
	reads = 0;
	assert_int_not_equal(look(&heap), HEAP_READ);
	T_CHECKF(reads < 10, "%u reads of one page", reads);
	ftruncate(page_fd, PAGE_BYTES);
}

/* Each slab says that it has all cells. */
static void cells_used_again(void **state)
{
	struct heap heap;

	(void)state;
	page->pools = 1;
	page->slabs = RDM_PICTURE_SLABS;
	page->cells = 64;
	sum_up();
	for (unsigned i = 0; i < RDM_PICTURE_SLABS; i++)
		slabs()[i] = (struct rdm_picture_slab){ .length = 8 << 20 };
	assert_int_equal(look(&heap), HEAP_READ);
	check(&heap);
	assert_int_equal(heap.header->slabs, 1);
	heap_free(&heap);
}

static void numbers_beyond_all(void **state)
{
	struct heap heap;
	json_t *json;

	(void)state;
	memset(pools(), 0xff, 2 * sizeof(struct rdm_picture_pool));
	page->forks = page->last_fork_ns = page->reserve_bytes = UINT64_MAX;
	page->time_ns = page->interval_ns = page->took_ns = UINT64_MAX;
	assert_int_equal(look(&heap), HEAP_READ);
	json = heap_json(&heap);
	assert_non_null(json);
	assert_int_equal(json_integer_value(json_object_get(json, "forks")), INT64_MAX);
	json_decref(json);
	heap_free(&heap);
}

static bool is_plain(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

/* What a terminal would obey. */
static void orders_in_names(void **state)
{
	static const char orders[] = "x\033]0;y\a\033[2J\x9b\n\r\b";
	struct heap heap;
	char before[16];

	(void)state;
	prctl(PR_GET_NAME, before);
	prctl(PR_SET_NAME, orders);
	memcpy(page->library, orders, sizeof(orders));
	memset(pools()[0].name, '\033', sizeof(pools()[0].name));
	memset(pools()[1].rail_names, '\a', sizeof(pools()[1].rail_names));
	assert_int_equal(look(&heap), HEAP_READ);
	prctl(PR_SET_NAME, before);
	assert_true(is_plain(heap.program) && is_plain(heap.header->library));
	assert_true(is_plain(heap.pools[0].name));
	assert_int_equal(strlen(heap.pools[0].name), sizeof(heap.pools[0].name) - 1);
	for (unsigned i = 0; i < RDM_PICTURE_RAILS; i++)
		assert_true(is_plain(heap.pools[1].rail_names[i]));
	heap_free(&heap);
}

/* Many that are half written are waited for no longer than one. */
static void half_written(void **state)
{
	enum { HALF = 100 };
	struct heap_patience patience;
	unsigned for_one;
	struct heap heap;
	int fd[HALF];
	size_t count;

	(void)state;
	page->pools = page->slabs = page->cells = 0;
	sum_up();
	page->sequence = 1;
	assert_int_equal(look(&heap), HEAP_BUSY);
	for_one = naps;
	assert_true(for_one > 0);
	for (unsigned i = 0; i < HALF; i++) {
		fd[i] = memfd_create(RDM_PICTURE_NAME, 0);
		T_CHECK(fd[i] >= 0 && write(fd[i], page, sizeof(*page)) == (ssize_t)sizeof(*page));
	}
	naps = 0;
	assert_int_equal(look(&heap), HEAP_BUSY);
	assert_in_range(naps, 0, for_one);
	/* Nor are the processes that have them. */
	heap_be_patient(&patience);
	naps = 0;
	free(heap_find_all(&count, &patience));
	heap_read(&heap, getpid(), &patience);
	assert_in_range(naps, 0, for_one);
	for (unsigned i = 0; i < HALF; i++)
		close(fd[i]);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_wrong),   CASE(changes_between_reads), CASE(shrinks_between_reads),
		CASE(huge_and_sparse), CASE(cells_used_again),      CASE(numbers_beyond_all),
		CASE(orders_in_names), CASE(half_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
