# SPDX-License-Identifier: BSD-2-Clause
EXTRA_PROGRAMS += bench/trace
bench_trace_SOURCES = bench/trace.c bench/trace.h bench/trace_crew.c bench/trace_plan.c \
	bench/trace_subjects.c
bench_trace_CPPFLAGS = $(bench_cppflags)
# Its clock_gettime() is for the allocator that LD_PRELOAD names.
bench_trace_LDFLAGS = $(bench_ldflags) -export-dynamic
bench_trace_LDADD = lib/librdmalloc.la -lm

# One source: rdmalloc, and whatever is malloc.
EXTRA_PROGRAMS += bench/scaling-rdmalloc bench/scaling-malloc
bench_scaling_rdmalloc_SOURCES = bench/scaling.c
bench_scaling_rdmalloc_CPPFLAGS = $(bench_cppflags)
bench_scaling_rdmalloc_LDFLAGS = $(bench_ldflags)
bench_scaling_rdmalloc_LDADD = $(bench_libs) lib/librdmalloc.la
bench_scaling_malloc_SOURCES = bench/scaling.c
bench_scaling_malloc_CPPFLAGS = $(bench_cppflags) -DMALLOC
bench_scaling_malloc_LDFLAGS = $(bench_ldflags)
bench_scaling_malloc_LDADD = $(bench_libs)

bench-scaling: all bench/scaling-rdmalloc bench/scaling-malloc
	$(top_srcdir)/bench/scaling-run --build .

if TESTS_ENABLED
EXTRA_PROGRAMS += bench/tables
endif
# Looks at the library's inside.
bench_tables_CPPFLAGS = $(bench_cppflags) $(JEMALLOC_CPPFLAGS)
bench_tables_LDADD = lib/librdmalloc_test.la $(JEMALLOC_ARCHIVE) $(RAIL_LIBS)

# Ten minutes of a server, in one to three.
bench-trace: all bench/trace
	$(top_srcdir)/bench/trace-run --build .

# Ordinary programs with the library preloaded; a few minutes of a quiet machine.
EXTRA_PROGRAMS += bench/once bench/preload/fork_cost bench/preload/pair
bench_preload_fork_cost_LDADD =
bench_preload_pair_LDADD =
bench_once_CPPFLAGS = $(bench_cppflags)
bench_once_LDFLAGS = $(bench_ldflags)
bench_once_LDADD =
bench-preloaded: all bench/once bench/preload/fork_cost bench/preload/pair
	$(top_srcdir)/bench/preload/run >$(top_srcdir)/docs/bench/preload.md
	$(top_srcdir)/bench/programs --build . >$(top_srcdir)/docs/bench/programs.md

MOSTLYCLEANFILES += bench/once bench/preload/fork_cost bench/preload/pair bench/trace bench/scaling-rdmalloc bench/scaling-malloc bench/tables
EXTRA_DIST += bench/preload/run bench/programs bench/trace-run bench/scaling-run docs/scaling.md

.PHONY: bench-trace bench-scaling bench-preloaded
