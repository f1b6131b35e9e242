# SPDX-License-Identifier: BSD-2-Clause
#
# Nothing of this is built by "make all" or "make check" alone. A subject is a
# program bench/subjects/NAME, its source NAME.c; bench/worker.h says what is in it.

bench_libs = bench/libworker.la
bench_subjects = bench/subjects/malloc bench/subjects/empty \
	bench/subjects/rdmalloc bench/subjects/rdmalloc-sized
EXTRA_LTLIBRARIES += $(bench_libs) bench/libempty.la
EXTRA_PROGRAMS += $(bench_subjects)

bench_cppflags = $(AM_CPPFLAGS) -iquote $(top_srcdir)/bench
# No wrapper script: valgrind and LD_PRELOAD are for the program.
bench_ldflags = $(AM_LDFLAGS) -no-install

bench_libworker_la_SOURCES = bench/worker.c bench/worker.h bench/protocol.c \
	bench/loops.h bench/ring.h
bench_libworker_la_CPPFLAGS = $(bench_cppflags)

bench_libempty_la_SOURCES = bench/subjects/empty_call.c bench/subjects/empty.h
bench_libempty_la_CPPFLAGS = $(bench_cppflags)
bench_libempty_la_LDFLAGS = -avoid-version -rpath /nowhere

bench_subjects_malloc_CPPFLAGS = $(bench_cppflags)
bench_subjects_malloc_LDFLAGS = $(bench_ldflags)
bench_subjects_malloc_LDADD = $(bench_libs)

bench_subjects_empty_CPPFLAGS = $(bench_cppflags)
bench_subjects_empty_LDFLAGS = $(bench_ldflags)
bench_subjects_empty_LDADD = $(bench_libs) bench/libempty.la

bench_rdmalloc_libs = $(bench_libs) lib/librdmalloc.la $(URING_LIBS)
bench_subjects_rdmalloc_CPPFLAGS = $(bench_cppflags) $(URING_CFLAGS)
bench_subjects_rdmalloc_LDFLAGS = $(bench_ldflags)
bench_subjects_rdmalloc_LDADD = $(bench_rdmalloc_libs)
bench_subjects_rdmalloc_sized_SOURCES = bench/subjects/rdmalloc.c
bench_subjects_rdmalloc_sized_CPPFLAGS = $(bench_cppflags) $(URING_CFLAGS) -DSIZED
bench_subjects_rdmalloc_sized_LDFLAGS = $(bench_ldflags)
bench_subjects_rdmalloc_sized_LDADD = $(bench_rdmalloc_libs)

bench-programs: $(bench_subjects)

.PHONY: bench-programs
