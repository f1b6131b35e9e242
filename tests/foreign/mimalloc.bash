# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# mimalloc's test-api and test-stress, with its names for malloc's.

foreign_build_mimalloc() { # TREE OUT
	local tree=$1 out=$2
	mkdir -p "$out/include/mimalloc"
	cat >"$out/include/mimalloc.h" <<'END'
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define mi_malloc malloc
#define mi_free free
#define mi_calloc calloc
#define mi_realloc realloc
#define mi_reallocarray reallocarray
#define mi_posix_memalign posix_memalign
#define mi_memalign memalign
#define mi_usable_size malloc_usable_size
#define mi_good_size(n) (n)
#define mi_realpath realpath
#define mi_option_disable(o)
#define mi_stats_print(o)
#define MI_BLOCK_ALIGNMENT_MAX (1 << 20)
#define MI_SMALL_SIZE_MAX 1024
#define MI_MAX_ALIGN_SIZE 16
static inline void *mi_malloc_aligned(size_t n, size_t a)
{
	void *p = NULL;
	if (!a || a & (a - 1))
		return NULL;
	return posix_memalign(&p, a < sizeof(p) ? sizeof(p) : a, n) ? NULL : p;
}
static inline void *mi_zalloc_aligned(size_t n, size_t a)
{
	void *p = mi_malloc_aligned(n, a);
	return p ? memset(p, 0, n) : p;
}
static inline void *mi_rezalloc_aligned(void *p, size_t n, size_t a)
{
	size_t old = malloc_usable_size(p);
	void *q = mi_zalloc_aligned(n, a);
	if (q && p)
		memcpy(q, p, old < n ? old : n), free(p);
	return q;
}
END
	: >"$out/include/mimalloc/types.h"
	# What malloc has not (heaps, offsets, allocators of C++) is left out, test by test.
	awk '
		/^[ \t]*CHECK_BODY\(/ { held = ""; holding = 1 }
		holding { held = held $0 "\n"; if (/^  };?[ \t\r]*$/) { holding = 0; if (held !~ /mi_heap|_at\(|mi_u(m|f|re)|realloc-sizezero|calloc0|mi_rezalloc|mi_option/) printf "%s", held } next }
		/CHECK\(/ && /heap|stl|_at\(/ { next }
		/^bool test_(heap|stl)/ && /;$/ { next }
		/^bool test_(heap|stl)/ { skip = 1 }
		skip { if (/^}/) skip = 0; next }
		{ print }
	' "$tree/test/test-api.c" >"$out/test-api.c"
	if cc -w -O1 -I"$out/include" -I"$tree/test" "$out/test-api.c" -o "$out/test-api" 2>"$out/test-api.log"; then
		printf 'test-api\t%s\n' "$out/test-api"
	fi
	if cc -w -O2 -DUSE_STD_MALLOC -I"$tree/test" -I"$tree/include" "$tree/test/test-stress.c" -o "$out/test-stress" -pthread 2>"$out/test-stress.log"; then
		printf 'test-stress\t%s 4 20 5\n' "$out/test-stress"
	fi
}
