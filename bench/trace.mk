# SPDX-License-Identifier: BSD-2-Clause
EXTRA_PROGRAMS += bench/trace
bench_trace_SOURCES = bench/trace.c bench/trace.h bench/trace_crew.c bench/trace_plan.c \
	bench/trace_subjects.c
bench_trace_CPPFLAGS = $(bench_cppflags)
# Its clock_gettime() is for the allocator that LD_PRELOAD names.
bench_trace_LDFLAGS = $(bench_ldflags) -export-dynamic
bench_trace_LDADD = lib/librdmalloc.la -lm

# Ten minutes of a server, in one to three.
bench-trace: all bench/trace
	$(top_srcdir)/bench/trace-run --build .

MOSTLYCLEANFILES += bench/trace
EXTRA_DIST += bench/trace-run

.PHONY: bench-trace
