# SPDX-License-Identifier: BSD-2-Clause
#
# Nothing of this is built by "make all" or "make check" alone: bench/run builds what it
# needs. A subject is a program bench/subjects/NAME; bench/worker.h says what its source has.

bench_libs = bench/libworker.la
bench_device_libs = bench/libdevice.la bench/libworker.la $(URING_LIBS)
bench_subjects = bench/subjects/floor bench/subjects/malloc bench/subjects/empty \
	bench/subjects/rdmalloc bench/subjects/rdmalloc-sized \
	bench/subjects/pinned bench/subjects/bare
EXTRA_LTLIBRARIES += bench/libworker.la bench/libdevice.la bench/libempty.la
EXTRA_PROGRAMS += $(bench_subjects)

bench_cppflags = $(AM_CPPFLAGS) -iquote $(top_srcdir)/bench
# No wrapper script: valgrind and LD_PRELOAD are for the program.
bench_ldflags = $(AM_LDFLAGS) -no-install

bench_libworker_la_SOURCES = bench/worker.c bench/worker.h bench/protocol.c \
	bench/loops.h bench/ring.h
bench_libworker_la_CPPFLAGS = $(bench_cppflags)

bench_libdevice_la_SOURCES = bench/device.c bench/device.h bench/huge.c bench/huge.h
bench_libdevice_la_CPPFLAGS = $(bench_cppflags) $(URING_CFLAGS)

bench_libempty_la_SOURCES = bench/subjects/empty_call.c bench/subjects/empty.h
bench_libempty_la_CPPFLAGS = $(bench_cppflags)
bench_libempty_la_LDFLAGS = -avoid-version -rpath /nowhere

bench_subjects_floor_CPPFLAGS = $(bench_cppflags)
bench_subjects_floor_LDFLAGS = $(bench_ldflags)
bench_subjects_floor_LDADD = $(bench_libs)

bench_subjects_malloc_SOURCES = bench/subjects/any_malloc.c
bench_subjects_malloc_CPPFLAGS = $(bench_cppflags)
bench_subjects_malloc_LDFLAGS = $(bench_ldflags)
bench_subjects_malloc_LDADD = $(bench_libs)

bench_subjects_empty_CPPFLAGS = $(bench_cppflags)
bench_subjects_empty_LDFLAGS = $(bench_ldflags)
bench_subjects_empty_LDADD = $(bench_libs) bench/libempty.la

bench_rdmalloc_libs = bench/libdevice.la $(bench_libs) lib/librdmalloc.la $(URING_LIBS)
bench_subjects_rdmalloc_CPPFLAGS = $(bench_cppflags)
bench_subjects_rdmalloc_LDFLAGS = $(bench_ldflags)
bench_subjects_rdmalloc_LDADD = $(bench_rdmalloc_libs)
bench_subjects_rdmalloc_sized_SOURCES = bench/subjects/rdmalloc.c
bench_subjects_rdmalloc_sized_CPPFLAGS = $(bench_cppflags) -DSIZED
bench_subjects_rdmalloc_sized_LDFLAGS = $(bench_ldflags)
bench_subjects_rdmalloc_sized_LDADD = $(bench_rdmalloc_libs)

bench_subjects_pinned_CPPFLAGS = $(bench_cppflags)
bench_subjects_pinned_LDFLAGS = $(bench_ldflags)
bench_subjects_pinned_LDADD = $(bench_device_libs)
bench_subjects_bare_CPPFLAGS = $(bench_cppflags)
bench_subjects_bare_LDFLAGS = $(bench_ldflags)
bench_subjects_bare_LDADD = $(bench_device_libs)

if HAVE_BENCH_MEMKIND
bench_subjects += bench/subjects/memkind
endif
bench_subjects_memkind_CPPFLAGS = $(bench_cppflags) $(MEMKIND_CFLAGS)
bench_subjects_memkind_LDFLAGS = $(bench_ldflags)
bench_subjects_memkind_LDADD = $(bench_libs) $(MEMKIND_LIBS)

if HAVE_BENCH_DPDK
bench_subjects += bench/subjects/dpdk bench/subjects/dpdk-mempool
endif
# pkg-config names a hundred libraries, drivers of network cards and all.
bench_dpdk_libs = $(bench_libs) -lrte_eal -lrte_mempool -lrte_ring
bench_subjects_dpdk_CPPFLAGS = $(bench_cppflags)
bench_subjects_dpdk_CFLAGS = $(AM_CFLAGS) $(DPDK_CFLAGS)
bench_subjects_dpdk_LDFLAGS = $(bench_ldflags)
bench_subjects_dpdk_LDADD = $(bench_dpdk_libs)
bench_subjects_dpdk_mempool_SOURCES = bench/subjects/dpdk.c
bench_subjects_dpdk_mempool_CPPFLAGS = $(bench_cppflags) -DMEMPOOL
bench_subjects_dpdk_mempool_CFLAGS = $(AM_CFLAGS) $(DPDK_CFLAGS)
bench_subjects_dpdk_mempool_LDFLAGS = $(bench_ldflags)
bench_subjects_dpdk_mempool_LDADD = $(bench_dpdk_libs)

if HAVE_BENCH_UCX
bench_subjects += bench/subjects/ucx bench/subjects/ucx-register
endif
bench_subjects_ucx_CPPFLAGS = $(bench_cppflags) $(UCX_CFLAGS)
bench_subjects_ucx_LDFLAGS = $(bench_ldflags)
bench_subjects_ucx_LDADD = $(bench_libs) $(UCX_LIBS)
bench_subjects_ucx_register_SOURCES = bench/subjects/ucx.c
bench_subjects_ucx_register_CPPFLAGS = $(bench_cppflags) $(UCX_CFLAGS) -DREGISTER
bench_subjects_ucx_register_LDFLAGS = $(bench_ldflags)
bench_subjects_ucx_register_LDADD = $(bench_libs) $(UCX_LIBS)

if HAVE_BENCH_LIBFABRIC
bench_subjects += bench/subjects/libfabric
endif
bench_subjects_libfabric_CPPFLAGS = $(bench_cppflags) $(LIBFABRIC_CFLAGS)
bench_subjects_libfabric_LDFLAGS = $(bench_ldflags)
bench_subjects_libfabric_LDADD = $(bench_libs) $(LIBFABRIC_LIBS)

if HAVE_URING
bench_subjects += bench/subjects/register bench/subjects/register-fork bench/subjects/arena-map
endif
bench_subjects_register_CPPFLAGS = $(bench_cppflags) $(URING_CFLAGS)
bench_subjects_register_LDFLAGS = $(bench_ldflags)
bench_subjects_register_LDADD = $(bench_libs) $(URING_LIBS)
bench_subjects_register_fork_SOURCES = bench/subjects/register.c
bench_subjects_register_fork_CPPFLAGS = $(bench_cppflags) $(URING_CFLAGS) -DFORK
bench_subjects_register_fork_LDFLAGS = $(bench_ldflags)
bench_subjects_register_fork_LDADD = $(bench_libs) $(URING_LIBS)
bench_subjects_arena_map_SOURCES = bench/subjects/arena_map.c
bench_subjects_arena_map_CPPFLAGS = $(bench_cppflags) $(URING_CFLAGS)
bench_subjects_arena_map_LDFLAGS = $(bench_ldflags)
bench_subjects_arena_map_LDADD = $(bench_device_libs)

if HAVE_VERBS
bench_subjects += bench/subjects/register-verbs bench/subjects/register-verbs-fork
endif
bench_subjects_register_verbs_SOURCES = bench/subjects/register_verbs.c
bench_subjects_register_verbs_CPPFLAGS = $(bench_cppflags) $(VERBS_CFLAGS)
bench_subjects_register_verbs_LDFLAGS = $(bench_ldflags)
bench_subjects_register_verbs_LDADD = $(bench_libs) $(VERBS_LIBS)
bench_subjects_register_verbs_fork_SOURCES = bench/subjects/register_verbs.c
bench_subjects_register_verbs_fork_CPPFLAGS = $(bench_cppflags) $(VERBS_CFLAGS) -DFORK
bench_subjects_register_verbs_fork_LDFLAGS = $(bench_ldflags)
bench_subjects_register_verbs_fork_LDADD = $(bench_libs) $(VERBS_LIBS)

# By a make of its own: "make -j all bench" would build the library twice at a time.
bench-programs: all
	@$(MAKE) $(AM_MAKEFLAGS) $(bench_subjects)

MOSTLYCLEANFILES += $(EXTRA_LTLIBRARIES) $(bench_subjects)
EXTRA_DIST += bench/run bench/subjects/buffer.h \
	bench/drivers/__init__.py \
	bench/drivers/mpi.bash bench/drivers/mpi.py \
	bench/drivers/peers.py \
	bench/drivers/preload.bash bench/drivers/preload.py \
	bench/drivers/programs.py \
	bench/drivers/scaling.py \
	bench/drivers/tables.py \
	bench/drivers/trace.py \
	bench/harness/__init__.py \
	bench/harness/callgrind.py \
	bench/harness/cases.py \
	bench/harness/charts.py \
	bench/harness/common.py \
	bench/harness/counting.py \
	bench/harness/goals.py \
	bench/harness/machine.py \
	bench/harness/maps.py \
	bench/harness/report.py \
	bench/harness/subjects.py \
	bench/harness/timing.py \
	bench/harness/worker.py

.PHONY: bench-programs
