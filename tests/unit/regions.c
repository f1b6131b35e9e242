/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a pool tells a peer: descriptions that are true, that a peer can trust
 * to be checked whatever arrives, and scatter/gather entries.
 */
#include "config.h"
#include "support.h"

#include <endian.h>
#include <errno.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#ifdef HAVE_VERBS
#include <infiniband/verbs.h>
#endif

enum { BLOCKS = 5, HEADER = 16, REGION = 24, ROOM = HEADER + 64 * REGION };

static rdm_pool *pool;
static struct t_recorder *recorder;
static char *block[BLOCKS];
static unsigned char description[ROOM];
static size_t size;

static size_t describe(void)
{
	ssize_t got = rdm_regions_export(pool, 0, description, sizeof(description));

	assert_true(got >= HEADER && (size_t)got <= sizeof(description));
	size = (size_t)got;
	return size;
}

static uint32_t generation(void)
{
	uint32_t is = 0;

	describe();
	assert_int_equal(rdm_regions_check(description, size, &is), 0);
	return is;
}

static int set_up(void **state)
{
	(void)state;
	recorder = t_recorder_new("recorder");
	pool = t_pool("regions", 0, 0, T_SLAB, 0);
	t_recorder_add(recorder, pool);
	/* A slab each, one of them longer. */
	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = t_malloc(pool, i == 2 ? 3 * T_SLAB : T_SLAB);
	describe();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BLOCKS; i++)
		rdm_free(block[i]);
	assert_int_equal(rdm_pool_destroy(pool), 0);
	t_recorder_free(recorder);
	return 0;
}

#define EXPECT_ERRNO(call, err)                 \
	do {                                    \
		errno = 0;                      \
		assert_int_equal((call), -1);   \
		assert_int_equal(errno, (err)); \
	} while (0)

static int resolve(uint64_t address, uint64_t length, uint32_t *rkey)
{
	return rdm_regions_resolve(description, size, address, length, rkey);
}

static void round_trip(void **state)
{
	uint32_t rkey;

	(void)state;
	assert_int_equal(size, HEADER + BLOCKS * REGION);
	assert_int_equal(rdm_regions_check(description, size, NULL), 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct rdm_key key;
		uint64_t base;

		assert_int_equal(rdm_key(block[i], 0, &key), 0);
		base = (uintptr_t)key.base;
		for (size_t at = 0; at < key.length; at += T_SLAB / 8 - 1) {
			rkey = 0;
			assert_int_equal(resolve(base + at, key.length - at, &rkey), 0);
			assert_int_equal(rkey, key.rkey);
			assert_int_equal(resolve(base + at, 0, &rkey), 0);
			EXPECT_ERRNO(resolve(base + at, key.length - at + 1, &rkey), EFAULT);
			EXPECT_ERRNO(resolve(base + at, UINT64_MAX, &rkey), EFAULT);
			EXPECT_ERRNO(resolve(base + at, UINT64_MAX - base - at + 1, &rkey), EFAULT);
		}
		assert_int_equal(resolve(base + key.length - 1, 1, &rkey), 0);
	}
}

static void not_inside(void **state)
{
	uint32_t rkey = 77;
	struct rdm_key first, last;

	(void)state;
	assert_int_equal(rdm_key(block[0], 0, &first), 0);
	last = first;
	for (unsigned i = 1; i < BLOCKS; i++) {
		struct rdm_key key;

		assert_int_equal(rdm_key(block[i], 0, &key), 0);
		if (key.base < first.base)
			first = key;
		if (key.base > last.base)
			last = key;
	}
	EXPECT_ERRNO(resolve((uintptr_t)first.base - 1, 1, &rkey), EFAULT);
	EXPECT_ERRNO(resolve((uintptr_t)first.base - 1, 2, &rkey), EFAULT);
	EXPECT_ERRNO(resolve((uintptr_t)last.base + last.length, 0, &rkey), EFAULT);
	EXPECT_ERRNO(resolve(0, 0, &rkey), EFAULT);
	EXPECT_ERRNO(resolve(0, UINT64_MAX, &rkey), EFAULT);
	EXPECT_ERRNO(resolve(UINT64_MAX, 1, &rkey), EFAULT);
	EXPECT_ERRNO(resolve(UINT64_MAX, UINT64_MAX, &rkey), EFAULT);
	EXPECT_ERRNO(resolve((uintptr_t)block[0], 1, NULL), EINVAL);
	assert_int_equal(rkey, 77);
}

static void not_a_description(void **state)
{
	uint32_t rkey = 77, is = 88;

	(void)state;
	for (size_t cut = 0; cut < size; cut++) {
		/* Of its own size, so that a sanitizer sees a read beyond it. */
		unsigned char *part = malloc(cut ? cut : 1);

		assert_non_null(part);
		memcpy(part, description, cut);
		EXPECT_ERRNO(rdm_regions_check(part, cut, &is), EPROTO);
		EXPECT_ERRNO(rdm_regions_resolve(part, cut, (uintptr_t)block[0], 1, &rkey), EPROTO);
		free(part);
	}
	EXPECT_ERRNO(rdm_regions_check(NULL, size, &is), EPROTO);
	EXPECT_ERRNO(rdm_regions_resolve(NULL, 0, 0, 0, &rkey), EPROTO);
	/* Magic, version and the length of a region; the rest may be anything. */
	for (unsigned bit = 0; bit < 64; bit++) {
		description[bit / 8] ^= (unsigned char)(1 << bit % 8);
		EXPECT_ERRNO(rdm_regions_check(description, size, &is), EPROTO);
		EXPECT_ERRNO(resolve((uintptr_t)block[0], 1, &rkey), EPROTO);
		description[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	assert_int_equal(rkey, 77);
	assert_int_equal(is, 88);
	assert_int_equal(rdm_regions_check(description, size, &is), 0);
}

static void capacity(void **state)
{
	unsigned char *part;

	(void)state;
	for (size_t room = 0; room < size; room++) {
		part = malloc(room + 8);
		assert_non_null(part);
		memset(part, 0xee, room + 8);
		assert_int_equal(rdm_regions_export(pool, 0, part, room), size);
		assert_true(t_is_byte(part, room + 8, 0xee));
		free(part);
	}
	assert_int_equal(rdm_regions_export(pool, 0, NULL, 0), size);
	part = malloc(size + 8);
	assert_non_null(part);
	memset(part, 0xee, size + 8);
	assert_int_equal(rdm_regions_export(pool, 0, part, size), size);
	assert_memory_equal(part, description, size);
	assert_true(t_is_byte(part + size, 8, 0xee));
	free(part);
}

static int inherited(void *arg)
{
	(void)arg;
	T_FAILS(rdm_regions_export(pool, 0, description, sizeof(description)) == -1, ECHILD);
	/* What was exported before is only bytes. */
	T_CHECK(!rdm_regions_check(description, size, NULL));
	return T_PASS;
}

static void export_fails(void **state)
{
	(void)state;
	EXPECT_ERRNO(rdm_regions_export(NULL, 0, description, size), EINVAL);
	EXPECT_ERRNO(rdm_regions_export(pool, 0, NULL, size), EINVAL);
	EXPECT_ERRNO(rdm_regions_export(pool, 1, description, size), ENOENT);
	EXPECT_ERRNO(rdm_regions_export(pool, -1, description, size), ENOENT);
	EXPECT_ERRNO(rdm_regions_export(pool, RDM_RAILS_MAX, description, size), ENOENT);
	t_fork_passes(inherited, NULL);
}

static void generations(void **state)
{
	struct t_recorder *second = t_recorder_new("second");
	uint32_t last = generation(), now, rkey;
	char *more;

	(void)state;
	assert_int_equal(generation(), last);
	more = t_malloc(pool, T_SLAB);
	assert_true((now = generation()) > last);
	assert_int_equal(resolve((uintptr_t)more, T_SLAB, &rkey), 0);
	last = now;
	/* No new slab, no news. */
	rdm_free(more);
	assert_int_equal(generation(), last);
	assert_ptr_equal(t_malloc(pool, T_SLAB), more);
	rdm_free(more);
	assert_int_equal(generation(), last);
	assert_int_equal(rdm_pool_trim(pool, 0), 0);
	assert_true((now = generation()) > last);
	EXPECT_ERRNO(resolve((uintptr_t)more, 1, &rkey), EFAULT);
	last = now;
	assert_int_equal(rdm_pool_reserve(pool, 10 * T_SLAB), 0);
	assert_true((now = generation()) > last);
	last = now;
	assert_int_equal(t_recorder_add(second, pool), 1);
	assert_true((now = generation()) > last);
	last = now;
	assert_int_equal(rdm_pool_remove_rail(pool, 1), 0);
	assert_true((now = generation()) > last);
	t_recorder_free(second);
}

/* The peer's own reading of a description. */
static uint64_t number(const unsigned char *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *at++;
	return value;
}

static bool well_formed(const unsigned char *bytes, size_t length)
{
	return length >= HEADER && number(bytes, 4) == 0x72646d52 && number(bytes + 4, 2) == 1 &&
	       number(bytes + 6, 2) == REGION &&
	       number(bytes + 12, 4) <= (length - HEADER) / REGION;
}

/* Whether a region with this rkey holds the whole range. */
static bool granted(const unsigned char *bytes, uint64_t address, uint64_t length, uint32_t rkey)
{
	for (uint64_t i = 0; i < number(bytes + 12, 4); i++) {
		const unsigned char *region = bytes + HEADER + i * REGION;
		uint64_t base = number(region, 8), extent = number(region + 8, 8);

		if (address >= base && address - base < extent &&
		    length <= extent - (address - base) && number(region + 16, 4) == rkey)
			return true;
	}
	return false;
}

static void corrupt(struct t_rng *rng, unsigned char *bytes, size_t length)
{
	for (uint64_t n = t_below(rng, 6); n && length; n--) {
		/* The header is what there is to break. */
		size_t at = t_below(rng, t_below(rng, 2) && length > HEADER ? HEADER : length);

		if (t_below(rng, 2))
			bytes[at] ^= (unsigned char)(1 << t_below(rng, 8));
		else
			bytes[at] = (unsigned char)t_rand(rng);
	}
}

/* The bytes end where the page does, and the next one cannot be touched. */
static void whatever_arrives(void **state)
{
	struct t_rng rng = { .state = 20 };
	size_t room = (ROOM + t_page() - 1) / t_page() * t_page();
	unsigned char *pages = mmap(NULL, room + t_page(), PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned valid = 0, found = 0, rounds = 200000;

	(void)state;
	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + room, t_page(), PROT_NONE), 0);
	for (unsigned round = 0; round < rounds; round++) {
		size_t length = t_below(&rng, 4) ? size : t_below(&rng, size + 1);
		unsigned char *bytes = pages + room - length;
		uint64_t address = (uintptr_t)block[t_below(&rng, BLOCKS)] +
				   t_below(&rng, 4 * T_SLAB) - T_SLAB / 2;
		uint64_t wanted = t_below(&rng, 2) ? t_below(&rng, 2 * T_SLAB) : t_rand(&rng);
		uint32_t rkey = 0;
		bool good;

		memcpy(bytes, description, length);
		corrupt(&rng, bytes, length);
		good = well_formed(bytes, length);
		valid += good;
		assert_int_equal(rdm_regions_check(bytes, length, NULL), good ? 0 : -1);
		if (!rdm_regions_resolve(bytes, length, address, wanted, &rkey)) {
			found++;
			assert_true(good && granted(bytes, address, wanted, rkey));
		} else {
			assert_int_equal(errno, good ? EFAULT : EPROTO);
		}
	}
	t_say("%u rounds: %u descriptions are well-formed, %u addresses found", rounds, valid,
	      found);
	assert_true(valid > rounds / 100 && valid < rounds && found > rounds / 100);
	munmap(pages, room + t_page());
}

#ifdef HAVE_VERBS
static int sge_in_child(void *arg)
{
	struct ibv_sge sge;

	T_FAILS(rdm_sge(arg, 1, 0, &sge) == -1, ECHILD);
	return T_PASS;
}

static void scatter_gather(void **state)
{
	struct iovec iov[BLOCKS + 1], one = { .iov_base = block[0], .iov_len = 64 };
	struct ibv_sge sge[BLOCKS + 1];
	int not_ours = 0;

	(void)state;
	memset(sge, 0xee, sizeof(sge));
	for (unsigned i = 0; i <= BLOCKS; i++)
		iov[i] = (struct iovec){ .iov_base = block[i % BLOCKS] + 7 * i,
					 .iov_len = i * 1000 };
	iov[BLOCKS].iov_len = T_SLAB - 7 * BLOCKS;
	assert_int_equal(rdm_sge(iov, BLOCKS + 1, 0, sge), 0);
	for (unsigned i = 0; i <= BLOCKS; i++) {
		struct rdm_key key;

		assert_int_equal(rdm_key(iov[i].iov_base, 0, &key), 0);
		assert_int_equal(sge[i].addr, (uintptr_t)iov[i].iov_base);
		assert_int_equal(sge[i].length, iov[i].iov_len);
		assert_int_equal(sge[i].lkey, key.lkey);
	}
	assert_int_equal(rdm_sge(NULL, 0, 0, NULL), 0);
	/* Not one entry more than was asked for. */
	memset(sge, 0xee, sizeof(sge));
	assert_int_equal(rdm_sge(iov, 2, 0, sge), 0);
	assert_true(t_is_byte(&sge[2], sizeof(sge) - 2 * sizeof(sge[0]), 0xee));
	/* Beyond the registration, by one byte and by as much as can be said. */
	iov[BLOCKS].iov_len++;
	EXPECT_ERRNO(rdm_sge(iov, BLOCKS + 1, 0, sge), EINVAL);
	iov[BLOCKS].iov_len = (size_t)UINT32_MAX + 1 + 64;
	EXPECT_ERRNO(rdm_sge(iov, BLOCKS + 1, 0, sge), EINVAL);
	iov[BLOCKS].iov_len = SIZE_MAX;
	EXPECT_ERRNO(rdm_sge(iov, BLOCKS + 1, 0, sge), EINVAL);
	iov[BLOCKS] = (struct iovec){ .iov_base = &not_ours, .iov_len = 1 };
	EXPECT_ERRNO(rdm_sge(iov, BLOCKS + 1, 0, sge), EINVAL);
	EXPECT_ERRNO(rdm_sge(&one, 1, 1, sge), ENOENT);
	EXPECT_ERRNO(rdm_sge(&one, 1, -1, sge), ENOENT);
	EXPECT_ERRNO(rdm_sge(&one, 1, RDM_RAILS_MAX, sge), ENOENT);
	t_fork_passes(sge_in_child, &one);
	assert_int_equal(rdm_sge(&one, 1, 0, sge), 0);
}

#else
static void scatter_gather(void **state)
{
	struct iovec iov = { .iov_base = block[0], .iov_len = 1 };

	(void)state;
	EXPECT_ERRNO(rdm_sge(&iov, 1, 0, NULL), ENOTSUP);
}
#endif

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(round_trip),       CASE(not_inside),     CASE(not_a_description),
		CASE(capacity),         CASE(export_fails),   CASE(generations),
		CASE(whatever_arrives), CASE(scatter_gather),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
