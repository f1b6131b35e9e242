/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Size classes at every boundary; and every alignment up to a page of blocks that
 * have been in a magazine, whatever they were asked for with before.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "base/size_class.h"

enum { BATCH = 6 };

static size_t sizes[RDM_CLASS_MAX + 1];

/* Multiples of 64 to 512, then four to each doubling. */
static void list_classes(void)
{
	size_t step = 64, size = 0;

	for (unsigned i = 1; i <= RDM_CLASS_MAX; i++) {
		if (i > 8 && (i - 9) % 4 == 0)
			step = size / 4;
		size += step;
		sizes[i] = size;
	}
}

static void expect_class(size_t size, unsigned class)
{
	T_CHECKF(rdm_class_of(size) == class, "%zu is of class %u, not %u", size,
		 rdm_class_of(size), class);
	T_CHECKF(rdm_class_of_bytes(size) == class, "%zu bytes are of class %zu, not %u", size,
		 rdm_class_of_bytes(size), class);
}

static void boundaries(void)
{
	unsigned class = 1;

	T_CHECK(rdm_class_size(0) == 0 && RDM_SIZE_MAX == (size_t)448 << 30);
	for (unsigned i = 1; i <= RDM_CLASS_MAX; i++) {
		T_CHECK(rdm_class_size(i) == sizes[i]);
		expect_class(sizes[i - 1] + 1, i);
		expect_class(sizes[i] - 1, i);
		expect_class(sizes[i], i);
	}
	for (size_t size = 1; size <= 4 * T_MIB; size++) {
		class += size > sizes[class];
		expect_class(size, class);
	}
}

static void beyond(void)
{
	T_CHECK(rdm_class_of(0) == 1 && rdm_class_of_bytes(0) > RDM_CLASS_MAX);
	for (unsigned shift = 39; shift < 64; shift++)
		for (size_t quarter = 4; quarter < 8; quarter++) {
			size_t size = quarter << (shift - 2);

			for (size_t near = size - 1; near <= size + 1; near++) {
				if (near <= RDM_SIZE_MAX)
					continue;
				T_CHECKF(!rdm_class_of(near), "%zu has a class", near);
				T_CHECKF(rdm_class_of_bytes(near) > RDM_CLASS_MAX,
					 "%zu bytes have a class", near);
			}
		}
	T_CHECK(!rdm_class_of(RDM_SIZE_MAX + 1) && !rdm_class_of(SIZE_MAX));
	T_CHECK(rdm_class_of_bytes(RDM_SIZE_MAX + 1) > RDM_CLASS_MAX);
	T_CHECK(rdm_class_of_bytes(SIZE_MAX) > RDM_CLASS_MAX);
}

/* With what a thread's magazines are filled before. */
static void fill_magazines(rdm_pool *pool, size_t size, size_t align)
{
	size_t padded = (size + align - 1) & ~(align - 1);
	void *block[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		block[i] = t_malloc(pool, padded);
	for (unsigned i = 0; i < BATCH; i++)
		rdm_free(block[i]);
}

static void expect_alignment(rdm_pool *pool, size_t size, size_t align)
{
	char *block[BATCH];

	fill_magazines(pool, size, align);
	for (unsigned i = 0; i < BATCH; i++) {
		block[i] = rdm_aligned_alloc(pool, align, size);
		T_CHECKF(block[i], "%zu aligned to %zu: %s", size, align, strerror(errno));
		T_CHECKF(!((uintptr_t)block[i] % (align < 64 ? 64 : align)),
			 "%p, of %zu bytes, is not aligned to %zu", (void *)block[i], size, align);
		T_CHECKF(rdm_usable_size(block[i]) >= size, "%zu usable of %zu",
			 rdm_usable_size(block[i]), size);
		memset(block[i], (int)i + 1, rdm_usable_size(block[i]));
	}
	for (unsigned i = 0; i < BATCH; i++) {
		T_CHECKF(t_is_byte(block[i], rdm_usable_size(block[i]), (int)i + 1),
			 "%p, of %zu bytes aligned to %zu, overlaps another block",
			 (void *)block[i], size, align);
		rdm_free(block[i]);
	}
}

/* Every size of a few classes, then the sizes around every class. */
static void alignments(void)
{
	rdm_pool *pool = t_pool("aligned", 0, 0, T_SLAB, 0);
	size_t most = t_quick() || T_SANITIZED ? T_MIB / 4 : 4 * T_MIB;

	for (size_t align = 1; align <= 2 * t_page(); align *= 2) {
		for (size_t size = 0; size <= 1024; size++)
			expect_alignment(pool, size, align);
		for (unsigned i = 9; sizes[i] <= most; i++)
			for (size_t near = sizes[i] - 1; near <= sizes[i] + 1; near++)
				expect_alignment(pool, near, align);
	}
	T_CHECK(!t_stats(pool).live_blocks);
	T_CHECK(!rdm_pool_destroy(pool));
}

int main(void)
{
	list_classes();
	boundaries();
	beyond();
	alignments();
	return T_PASS;
}
