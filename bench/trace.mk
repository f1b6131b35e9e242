# SPDX-License-Identifier: BSD-2-Clause
EXTRA_PROGRAMS += bench/trace
bench_trace_SOURCES = bench/trace.c bench/trace.h bench/trace_crew.c bench/trace_plan.c \
	bench/trace_subjects.c
bench_trace_CPPFLAGS = $(bench_cppflags)
# Its clock_gettime() is for the allocator that LD_PRELOAD names.
bench_trace_LDFLAGS = $(bench_ldflags) -export-dynamic
bench_trace_LDADD = bench/libworker.la lib/librdmalloc.la -lm

if TESTS_ENABLED
EXTRA_PROGRAMS += bench/tables
endif
# Looks at the library's inside.
bench_tables_CPPFLAGS = $(bench_cppflags) $(JEMALLOC_CPPFLAGS)
bench_tables_LDADD = lib/librdmalloc_test.la $(JEMALLOC_ARCHIVE) $(RAIL_LIBS)

# Ordinary programs with the library preloaded.
EXTRA_PROGRAMS += bench/once bench/preload/fork_cost bench/preload/pair
bench_preload_fork_cost_LDADD =
bench_preload_pair_LDADD =
bench_once_CPPFLAGS = $(bench_cppflags)
bench_once_LDFLAGS = $(bench_ldflags)
bench_once_LDADD =

MOSTLYCLEANFILES += bench/once bench/preload/fork_cost bench/preload/pair bench/trace bench/tables
