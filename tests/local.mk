# SPDX-License-Identifier: BSD-2-Clause
#
# A test is one name in check_PROGRAMS (its source is the name plus .c) or in
# dist_check_SCRIPTS. The default LDADD is what ships and cmocka; a test in which
# a step of the recipe can be dropped says instead
#     tests_x_y_LDADD = $(STEP_TEST_LIBS)
# and is named in tests/ablation/run.
# Exit status: 0 pass, 77 skip, 99 cannot go on, else fail. Before a test or a
# cmocka case skips, it prints a line "SKIP: reason".

RDM_TEST_LIBS = probe/librdmprobe.la lib/librdmalloc_test.la \
	$(JEMALLOC_ARCHIVE) $(RAIL_LIBS) $(CMOCKA_LIBS)
RDM_PUBLIC_LIBS = probe/librdmprobe.la lib/librdmalloc.la \
	$(RAIL_LIBS) $(CMOCKA_LIBS)
STEP_TEST_LIBS = tests/libsupport.la $(RDM_TEST_LIBS)
# What is in the preload only, in a program that has malloc as ever.
PLAIN_TEST_LIBS = tests/libsupport.la probe/librdmprobe.la lib/librdmalloc-plain-test.la \
	$(JEMALLOC_ARCHIVE) $(CMOCKA_LIBS)
LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)

check_LTLIBRARIES += tests/libsupport.la
tests_libsupport_la_SOURCES = tests/support.c tests/support.h tests/recorder.c

check_PROGRAMS = \
	tests/unit/api \
	tests/unit/written \
	tests/unit/cache tests/unit/depot \
	tests/house/contracts \
	tests/unit/foreign \
	tests/unit/keys tests/unit/merge \
	tests/unit/pages \
	tests/unit/rails \
	tests/unit/pins \
	tests/unit/progress \
	tests/unit/publish_layout \
	tests/unit/regions \
	tests/unit/reserve tests/unit/reserve_hugetlb \
	tests/unit/resize \
	tests/unit/tools \
	tests/unit/unmergeable \
	tests/unit/vmpin \
	tests/unit/watermark \
	tests/fork/policy_anon tests/fork/policy_shared tests/fork/policy_hugetlb \
	tests/fork/child_anon tests/fork/child_shared tests/fork/child_hugetlb \
	tests/fork/dontfork \
	tests/fork/reassert \
	tests/fork/quiesce \
	tests/fork/abandoned \
	tests/fork/gate \
	tests/fork/purge \
	tests/fork/adopt \
	tests/fork/early \
	tests/fork/stress \
	tests/fork/windows \
	tests/background/steady tests/background/fork tests/background/trouble \
	tests/isolation/metadata \
	tests/churn/pools \
	tests/churn/vmas \
	tests/faults/bad_input \
	tests/faults/blame \
	tests/faults/cancel \
	tests/faults/conf \
	tests/faults/names \
	tests/faults/registrar \
	tests/faults/address_space \
	tests/faults/exhausted \
	tests/faults/stranger \
	tests/load/dlopen \
	tests/preload/anywhere \
	tests/preload/advice \
	tests/preload/announced \
	tests/preload/cancel \
	tests/preload/comeback \
	tests/preload/family \
	tests/preload/depth \
	tests/preload/forks \
	tests/preload/hygiene \
	tests/preload/libcs \
	tests/preload/limits \
	tests/preload/names \
	tests/preload/mpi_names \
	tests/preload/order \
	tests/preload/origin \
	tests/preload/registered \
	tests/preload/on_stacks \
	tests/preload/sandbox \
	tests/preload/roads \
	tests/preload/signal \
	tests/preload/stacks \
	tests/preload/storm \
	tests/preload/unseen \
	tests/preload/put_in \
	tests/preload/window \
	tests/magazine/bad_free \
	tests/magazine/bound \
	tests/magazine/classes \
	tests/magazine/drain \
	tests/magazine/fork \
	tests/magazine/live \
	tests/magazine/membarrier \
	tests/magazine/wait \
	tests/property/carve \
	tests/property/ledger
dist_check_SCRIPTS = tests/load/symbols.sh tests/ablation/run
if HAVE_URING
check_PROGRAMS += \
	tests/faults/memlock \
	tests/faults/uring \
	tests/fork/device_anon tests/fork/device_shared tests/fork/device_hugetlb \
	tests/fork/foreign
tests_faults_memlock_SOURCES = tests/faults/memlock.c tests/faults/sparse.h
tests_faults_uring_SOURCES = tests/faults/uring.c tests/faults/sparse.h
endif
if HAVE_VERBS
check_PROGRAMS += tests/faults/device tests/preload/ways
check_LTLIBRARIES += tests/preload/libverbs_of_tomorrow.la
endif
if HAVE_LIBFABRIC
check_PROGRAMS += tests/unit/ofi
endif
tests_unit_ofi_CPPFLAGS = $(AM_CPPFLAGS) $(LIBFABRIC_CFLAGS)
tests_unit_ofi_LDADD = rails/librdmalloc-ofi.la $(LDADD)
if HAVE_UCX
check_PROGRAMS += tests/unit/ucx
endif
tests_unit_ucx_CPPFLAGS = $(AM_CPPFLAGS) $(UCX_CFLAGS)
tests_unit_ucx_LDADD = rails/librdmalloc-ucx.la $(LDADD)
TESTS = $(check_PROGRAMS) $(dist_check_SCRIPTS)

tests_unit_written_LDADD = $(STEP_TEST_LIBS)
tests_unit_merge_LDADD = $(STEP_TEST_LIBS)
# Looks at the library's inside.
tests_unit_tools_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_unit_tools_LDADD = $(STEP_TEST_LIBS)
tests_house_contracts_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_house_contracts_LDADD = $(STEP_TEST_LIBS)
EXTRA_DIST += tests/unit/standstill.h
tests_unit_cache_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_unit_cache_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime -Wl,--wrap=rdm_je_calloc \
	-Wl,--wrap=rdm_arena_free -Wl,--wrap=rdm_arena_free_many \
	-Wl,--wrap=rdm_arena_free_batch
tests_unit_cache_LDADD = $(STEP_TEST_LIBS)
tests_unit_depot_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_unit_depot_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime -Wl,--wrap=rdm_je_calloc
tests_unit_depot_LDADD = $(STEP_TEST_LIBS)
tests_unit_pins_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS) -DRDM_PRELOAD
tests_unit_pins_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime -Wl,--wrap=rdm_je_calloc \
	-Wl,--wrap=rdm_vmpin_read -Wl,--wrap=rdm_kernel_copies_known \
	-Wl,--wrap=rdm_kernel_copies_ask -Wl,--wrap=syscall
tests_unit_pins_LDADD = $(PLAIN_TEST_LIBS)
tests_unit_publish_layout_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/lib/pool
tests_unit_vmpin_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS) -DRDM_PRELOAD
tests_unit_vmpin_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=syscall
tests_unit_vmpin_LDADD = $(PLAIN_TEST_LIBS)
tests_unit_pages_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS) -DRDM_PRELOAD
tests_unit_pages_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=syscall
tests_unit_pages_LDADD = $(PLAIN_TEST_LIBS)
tests_unit_watermark_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_unit_watermark_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=rdm_background_wake
tests_unit_watermark_LDADD = $(STEP_TEST_LIBS)
tests_property_carve_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_property_carve_LDADD = $(STEP_TEST_LIBS)
tests_magazine_drain_SOURCES = \
	tests/magazine/drain.c tests/magazine/stress.c tests/magazine/stress.h
tests_magazine_wait_SOURCES = tests/magazine/wait.c tests/magazine/stress.c tests/magazine/stress.h
tests_magazine_wait_LDADD = $(STEP_TEST_LIBS)
tests_faults_blame_LDADD = $(STEP_TEST_LIBS)
tests_faults_cancel_LDADD = $(STEP_TEST_LIBS)
tests_fork_dontfork_LDADD = $(STEP_TEST_LIBS)
tests_fork_reassert_LDADD = $(STEP_TEST_LIBS)
tests_fork_quiesce_LDADD = $(STEP_TEST_LIBS)
tests_property_ledger_SOURCES = \
	tests/property/ledger.c tests/property/ledger.h tests/property/model.c

# The backing is the end of the program's name, see backing.h.
tests_fork_policy_anon_SOURCES = tests/fork/policy.c tests/fork/backing.h
tests_fork_policy_shared_SOURCES = $(tests_fork_policy_anon_SOURCES)
tests_fork_policy_hugetlb_SOURCES = $(tests_fork_policy_anon_SOURCES)
tests_fork_child_anon_SOURCES = tests/fork/child.c tests/fork/backing.h
tests_fork_child_shared_SOURCES = $(tests_fork_child_anon_SOURCES)
tests_fork_child_hugetlb_SOURCES = $(tests_fork_child_anon_SOURCES)
tests_fork_device_anon_SOURCES = tests/fork/device.c tests/fork/backing.h
tests_fork_device_shared_SOURCES = $(tests_fork_device_anon_SOURCES)
tests_fork_device_hugetlb_SOURCES = $(tests_fork_device_anon_SOURCES)

# These stand between the library and what it calls.
tests_unit_resize_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=rdm_je_xallocx -Wl,--wrap=rdm_slabs_carve
tests_unit_resize_LDADD = $(STEP_TEST_LIBS)
tests_unit_progress_LDADD = $(STEP_TEST_LIBS)
tests_unit_foreign_LDADD = $(STEP_TEST_LIBS)
tests_unit_reserve_SOURCES = tests/unit/reserve.c tests/fork/backing.h
tests_unit_reserve_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=madvise -Wl,--wrap=mprotect -Wl,--wrap=pthread_create
tests_unit_reserve_LDADD = $(STEP_TEST_LIBS)
tests_unit_reserve_hugetlb_SOURCES = $(tests_unit_reserve_SOURCES)
tests_unit_reserve_hugetlb_LDFLAGS = $(tests_unit_reserve_LDFLAGS)
tests_unit_reserve_hugetlb_LDADD = $(STEP_TEST_LIBS)
tests_fork_abandoned_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=rdm_arena_alloc
tests_fork_abandoned_LDADD = $(STEP_TEST_LIBS)
tests_unit_merge_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=rdm_arena_free_batch
tests_fork_gate_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=rdm_slabs_carve
tests_fork_gate_LDADD = $(STEP_TEST_LIBS)
tests_fork_purge_LDFLAGS = $(AM_LDFLAGS) \
	-Wl,--wrap=rdm_arena_free_many -Wl,--wrap=rdm_slabs_uncarve
tests_fork_purge_LDADD = $(STEP_TEST_LIBS)
tests_faults_exhausted_LDADD = $(STEP_TEST_LIBS)
tests_fork_adopt_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=madvise
tests_fork_adopt_LDADD = $(STEP_TEST_LIBS)


background_support = tests/background/watch.c tests/background/watch.h
background_ldflags = $(AM_LDFLAGS) \
	-Wl,--wrap=rdm_watermark_made -Wl,--wrap=rdm_watermark_answered
tests_background_steady_SOURCES = tests/background/steady.c $(background_support)
tests_background_steady_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_background_steady_LDFLAGS = $(background_ldflags)
tests_background_steady_LDADD = $(STEP_TEST_LIBS)
tests_background_fork_SOURCES = tests/background/fork.c $(background_support)
tests_background_fork_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_background_fork_LDFLAGS = $(background_ldflags)
tests_background_fork_LDADD = $(STEP_TEST_LIBS)
tests_background_trouble_SOURCES = tests/background/trouble.c $(background_support)
tests_background_trouble_CPPFLAGS = $(AM_CPPFLAGS) $(JEMALLOC_CPPFLAGS)
tests_background_trouble_LDFLAGS = $(background_ldflags) -Wl,--wrap=pthread_create
tests_background_trouble_LDADD = $(STEP_TEST_LIBS)

# Programs that start themselves again under the preload.
preload_support = tests/preload/start.c tests/preload/start.h
tests_preload_anywhere_SOURCES = tests/preload/anywhere.c $(preload_support)
tests_preload_anywhere_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_depth_SOURCES = tests/preload/depth.c $(preload_support)
tests_preload_depth_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_sandbox_SOURCES = tests/preload/sandbox.c $(preload_support)
tests_preload_sandbox_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
check_LTLIBRARIES += tests/preload/plugin.la
tests_preload_plugin_la_SOURCES = tests/preload/plugin.c
tests_preload_plugin_la_LDFLAGS = -module -avoid-version -rpath /nowhere
tests_preload_names_SOURCES = tests/preload/names.c $(preload_support)
tests_preload_names_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_advice_SOURCES = tests/preload/advice.c $(preload_support)
tests_preload_advice_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_announced_SOURCES = tests/preload/announced.c $(preload_support)
tests_preload_announced_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_origin_SOURCES = tests/preload/origin.c $(preload_support)
tests_preload_origin_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_libverbs_of_tomorrow_la_SOURCES = \
	tests/preload/verbs_of_tomorrow.c tests/preload/verbs_of_tomorrow.h
tests_preload_libverbs_of_tomorrow_la_LDFLAGS = -shared -avoid-version -rpath /nowhere
tests_preload_ways_SOURCES = \
	tests/preload/ways.c tests/preload/verbs_of_tomorrow.h $(preload_support)
tests_preload_ways_LDADD = tests/preload/libverbs_of_tomorrow.la tests/libsupport.la
check_LTLIBRARIES += tests/preload/libmpi_stand_in.la tests/preload/libmpi_tool.la
tests_preload_libmpi_stand_in_la_SOURCES = tests/preload/mpi_stand_in.c
tests_preload_libmpi_stand_in_la_LDFLAGS = -shared -avoid-version -rpath /nowhere
tests_preload_libmpi_tool_la_SOURCES = tests/preload/mpi_tool.c
tests_preload_libmpi_tool_la_LDFLAGS = -shared -module -avoid-version -rpath /nowhere
tests_preload_libmpi_tool_la_LIBADD = tests/preload/libmpi_stand_in.la
tests_preload_mpi_names_SOURCES = tests/preload/mpi_names.c $(preload_support)
tests_preload_mpi_names_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
EXTRA_tests_preload_mpi_names_DEPENDENCIES = tests/preload/libmpi_tool.la
tests_preload_cancel_SOURCES = tests/preload/cancel.c $(preload_support)
tests_preload_cancel_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_comeback_SOURCES = tests/preload/comeback.c $(preload_support)
tests_preload_comeback_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_family_SOURCES = tests/preload/family.c $(preload_support)
tests_preload_family_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_hygiene_SOURCES = tests/preload/hygiene.c $(preload_support)
tests_preload_hygiene_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_forks_SOURCES = tests/preload/forks.c $(preload_support)
tests_preload_forks_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_libcs_SOURCES = tests/preload/libcs.c $(preload_support)
tests_preload_limits_SOURCES = tests/preload/limits.c $(preload_support)
tests_preload_limits_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_roads_SOURCES = tests/preload/roads.c $(preload_support)
tests_preload_roads_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_storm_SOURCES = tests/preload/storm.c $(preload_support)
tests_preload_storm_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_put_in_SOURCES = tests/preload/put_in.c $(preload_support)
tests_preload_put_in_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_window_SOURCES = tests/preload/window.c $(preload_support)
tests_preload_window_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_signal_SOURCES = tests/preload/signal.c $(preload_support)
tests_preload_signal_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_stacks_SOURCES = tests/preload/stacks.c $(preload_support)
tests_preload_stacks_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_unseen_SOURCES = tests/preload/unseen.c $(preload_support)
tests_preload_unseen_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)
check_LTLIBRARIES += tests/preload/libhandler.la
tests_preload_libhandler_la_SOURCES = tests/preload/handler.c
tests_preload_libhandler_la_LDFLAGS = -shared -avoid-version -rpath /nowhere
tests_preload_order_SOURCES = tests/preload/order.c $(preload_support)
tests_preload_order_LDADD = tests/preload/libhandler.la tests/libsupport.la $(RDM_PUBLIC_LIBS)
tests_preload_registered_SOURCES = tests/preload/registered.c $(preload_support)
tests_preload_on_stacks_SOURCES = tests/preload/on_stacks.c $(preload_support)
tests_preload_registered_LDADD = tests/libsupport.la $(RDM_PUBLIC_LIBS)

# Compiles its program itself, with each MPI's compiler.
dist_check_SCRIPTS += tests/preload/entries tests/preload/mpi tests/preload/mpi-programs
EXTRA_DIST += tests/preload/mpi.bash tests/preload/programs.bash \
	tests/preload/mpi_exchange.c tests/preload/numpy_mpi.py
MOSTLYCLEANFILES += tests/preload/mpi_exchange.openmpi tests/preload/mpi_exchange.mpich

# Loaded by hand: the program must not be linked with the library.
check_LTLIBRARIES += tests/load/tls_user.la
tests_load_tls_user_la_SOURCES = tests/load/tls_user.c
tests_load_tls_user_la_LDFLAGS = -module -avoid-version -rpath /nowhere
tests_load_dlopen_CPPFLAGS = $(AM_CPPFLAGS) \
	-DT_LIBRDMALLOC='"$(abs_top_builddir)/lib/.libs/librdmalloc.so"' \
	-DT_TLS_USER='"$(abs_top_builddir)/tests/load/.libs/tls_user.so"'
tests_load_dlopen_LDADD = tests/libsupport.la

# Each test is run by tests/watch/watch, which ends it when it hangs. Under ThreadSanitizer
# some take many minutes of CPU time; what needs more than 2400 s of it is here. In VMs other
# watches look; outside one may wait for a download.
LOG_COMPILER = $(abs_top_builddir)/tests/watch/watch
AM_LOG_FLAGS = --cpu 2400 --cpu '*/tests/ablation/run=3600' --cpu '*/tests/preload/*=3600' \
	--cpu '*/tests/vm/*=14400' --idle '*/tests/vm/*=3600'
noinst_PROGRAMS += tests/watch/watch
tests_watch_watch_SOURCES = tests/watch/watch.c tests/watch/tree.c tests/watch/tree.h
tests_watch_watch_LDADD =
dist_check_SCRIPTS += tests/watch/test
# Loaded by hand, too: an io_uring as Linux 5.10 has it.
if HAVE_URING
check_LTLIBRARIES += tests/examples/old_uring.la
tests_examples_old_uring_la_SOURCES = tests/examples/old_uring.c
tests_examples_old_uring_la_CPPFLAGS = $(AM_CPPFLAGS) $(URING_CFLAGS)
tests_examples_old_uring_la_LDFLAGS = -module -avoid-version -rpath /nowhere
endif

# RDM_TEST_QUICK=1 in the environment asks long tests for a small run.
AM_TESTS_ENVIRONMENT = \
	RDM_SRCDIR='$(abs_top_srcdir)'; RDM_BUILDDIR='$(abs_top_builddir)'; \
	RDM_CC='$(CC)'; RDM_CFLAGS='$(CFLAGS)'; RDM_SANITIZER='$(RDM_SANITIZER)'; RDM_CHECKING='$(RDM_CHECKING)'; \
	CMOCKA_MESSAGE_OUTPUT=TAP; \
	export RDM_SRCDIR RDM_BUILDDIR RDM_CC RDM_CFLAGS RDM_SANITIZER RDM_CHECKING \
		CMOCKA_MESSAGE_OUTPUT;

dist_check_SCRIPTS += tests/examples/forksafe tests/examples/rails tests/readme/messages tests/readme/needs tests/readme/run \
	tests/house/floors tests/house/registrations tests/install/run tests/bench/smoke
EXTRA_DIST += tests/bench/check.py

dist_check_SCRIPTS += tests/languages/run
EXTRA_DIST += tests/languages/cxx.cc tests/languages/expected tests/languages/life.c \
	tests/languages/crate.rs tests/languages/life.cc tests/languages/life.f90 \
	tests/languages/life.py tests/languages/life.rs tests/languages/python.py
dist_check_SCRIPTS += tests/foreign/run
EXTRA_DIST += tests/foreign/bench tests/foreign/glibc.bash tests/foreign/jemalloc.bash \
	tests/foreign/ltp.bash tests/foreign/measure.py tests/foreign/mimalloc.bash \
	tests/foreign/programs tests/foreign/usage.c
dist_check_SCRIPTS += tests/preload/programs/run
if COMMAND_ENABLED
dist_check_SCRIPTS += tests/preload/run tests/command/completion tests/command/doctor \
	tests/command/forktest tests/command/help tests/command/info tests/command/watch
EXTRA_PROGRAMS += tests/command/busy tests/command/impostor
tests_command_busy_LDADD = lib/librdmalloc.la $(RAIL_LIBS)
tests_command_impostor_LDADD =
command_helpers = tests/command/busy tests/command/impostor
MOSTLYCLEANFILES += tests/command/busy tests/command/impostor
EXTRA_DIST += tests/command/agree.py
check_PROGRAMS += tests/unit/published
tests_unit_published_SOURCES = tests/unit/published.c tools/published.c tools/published.h \
	tools/figures.c tools/figures.h tools/output.c tools/output.h tools/proc.c tools/proc.h
tests_unit_published_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir) $(JSON_CFLAGS)
tests_unit_published_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pread -Wl,--wrap=nanosleep
tests_unit_published_LDADD = $(LDADD) $(JSON_LIBS)
check_PROGRAMS += tests/command/forktest_steps
tests_command_forktest_steps_SOURCES = tests/command/forktest_steps.c \
	$(forktest_sources) tools/output.c tools/output.h
tests_command_forktest_steps_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir) $(JSON_CFLAGS)
tests_command_forktest_steps_LDADD = $(STEP_TEST_LIBS) $(JSON_LIBS)
else
EXTRA_DIST += tests/preload/run tests/command/completion tests/command/doctor \
	tests/command/forktest tests/command/help tests/command/info tests/command/watch
endif
EXTRA_DIST += tests/preload/programs/apache2 \
	tests/preload/programs/compiler \
	tests/preload/programs/git \
	tests/preload/programs/nginx \
	tests/preload/programs/openmp tests/preload/programs/openmp_teams.c \
	tests/preload/programs/perl tests/preload/programs/perl.pl \
	tests/preload/programs/postgres \
	tests/preload/programs/python3 \
	tests/preload/programs/redis \
	tests/preload/programs/server.sh \
	tests/preload/programs/source \
	tests/preload/programs/sqlite3

# All tests that the programs have: an hour.
check-programs: all $(check_LTLIBRARIES)
	@$(AM_TESTS_ENVIRONMENT) RDM_TEST_FULL=1 $(LOG_COMPILER) --idle 3600 --cpu 36000 \
		$(top_srcdir)/tests/preload/programs/run

include tests/vm/local.mk
include tests/instructions/local.mk

# Not in check_PROGRAMS: they are no tests.
EXTRA_PROGRAMS += tests/traits
tests_traits_LDADD = probe/librdmprobe.la lib/librdmalloc.la $(RAIL_LIBS)
MOSTLYCLEANFILES += tests/traits
check_DATA += tests/traits $(command_helpers)

# make one T=fork/gate builds what that test needs and runs it; with WITH='gdb --args' (or
# valgrind) under that, and with ARGS its arguments.
one: $(LTLIBRARIES) tests/watch/watch tests/traits
	@test -n "$(T)" || { echo "make one T=fork/gate [WITH='gdb --args'] [ARGS=...]"; exit 2; }
	@case ' $(check_PROGRAMS) ' in *' tests/$(T) '*) $(MAKE) $(AM_MAKEFLAGS) tests/$(T) ;; \
		*) test -e $(top_srcdir)/tests/$(T) || { echo "there is no test $(T)"; exit 2; } ;; esac
	@$(AM_TESTS_ENVIRONMENT) test=tests/$(T); test -x $$test || test=$(top_srcdir)/$$test; \
	if test -n "$(WITH)"; then $(LIBTOOL) --mode=execute $(WITH) $$test $(ARGS); \
	else $(LOG_COMPILER) $(AM_LOG_FLAGS) $$test $(ARGS); fi

# The short check has the short form of each test but these, which boot a kernel more each.
deep_tests = tests/vm/linux-6.1 tests/vm/linux-6.12 tests/vm/two-hosts
check-short:
	@tests=; for test in $(TESTS); do \
		case ' $(deep_tests) ' in *" $$test "*) ;; *) tests="$$tests $$test" ;; esac; \
	done; \
	RDM_TEST_QUICK=1 $(MAKE) $(AM_MAKEFLAGS) check TESTS="$$tests"

# All of it, and 10,000 forks for the soak.
check-all:
	@status=0; \
	$(MAKE) $(AM_MAKEFLAGS) check \
		TESTS="`printf '%s\n' $(TESTS) | grep -vx tests/preload/forks | tr '\n' ' '`" || status=1; \
	RDM_TEST_FULL=1 $(MAKE) $(AM_MAKEFLAGS) check TESTS=tests/preload/forks || status=1; \
	exit $$status
print-deep-tests:
	@echo $(deep_tests)
print-tests:
	@printf '%s\n' $(TESTS)
